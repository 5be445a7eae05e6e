"""What one scenario stands on: a fresh database in a source and in a target cluster, and relays."""
import itertools

from .children import PATIENCE_S, tail
from .compare import assert_same, differences, wait_same
from .kafka import Kafka
from .postgres import Postgres
from .relay import Relay

_numbers = itertools.count(1)


class Servers:
    """Clusters and a broker, started when first asked for and shared by the tests of one file."""

    def __init__(self):
        self._servers, self._kafka = {}, None

    def get(self, name):
        if name not in self._servers:
            self._servers[name] = Postgres(name)
        return self._servers[name]

    @property
    def kafka(self):
        if self._kafka is None:
            self._kafka = Kafka()
        return self._kafka

    def stop(self):
        if self._kafka:
            self._kafka.child.kill()
        for server in self._servers.values():
            server.stop("immediate")


class World:
    def __init__(self, servers):
        self.servers = servers
        self.number = next(_numbers)
        self.relays = []
        self.source = servers.get("source").fresh_database(f"src{self.number}")
        self.target = servers.get("target").fresh_database(f"dst{self.number}")

    @property
    def kafka(self):
        return self.servers.kafka

    def both(self, sql):
        self.source.execute(sql)
        self.target.execute(sql)

    def relay(self, tables, **options):
        """A relay with a pipeline name of its own; options as Relay's, kafka=True for the broker."""
        if options.get("kafka") is True:
            options["kafka"] = self.kafka
        name = options.pop("name", f"t{self.number}_{len(self.relays)}")
        relay = Relay(self.source, self.target, tables, name=name, **options)
        self.relays.append(relay)
        return relay

    def differences(self, *tables):
        return differences(self.source, self.target, tables)

    def assert_same(self, *tables):
        assert_same(self.source, self.target, tables)

    def wait_same(self, *tables, timeout_s=PATIENCE_S):
        """Also fails, at once, when a relay has left by itself meanwhile."""
        wait_same(self.source, self.target, tables, timeout_s, self.assert_running)

    def assert_running(self):
        for relay in self.relays:
            for role, child in relay.children.items():
                assert child.running(), f"{role} left with {child.process.poll()}: {last_line(relay.log_text(role))}"

    def logs(self):
        """The ends of all relays' logs, for a failure's report."""
        out = []
        for relay in self.relays:
            for path in sorted(relay.folder.glob("*.log")):
                out.append((f"{relay.name} {path.name}", tail(path, 30)))
        return out

    def close(self):
        for relay in self.relays:
            for role in list(relay.children):
                relay.kill(role)
        for server in (self.source.server, self.target.server):
            if server.child is None:  # the test failed while it had the server stopped
                server.start()
        self.servers.get("target").drop_database(self.target)
        self.servers.get("source").drop_database(self.source)


def stream_of(world, tables, ddl="", **options):
    """Tables on both sides, and a relay that is set up: what follows is streamed."""
    if ddl:
        world.both(ddl)
    relay = world.relay(tables, **options)
    relay.setup()
    return relay


def last_line(text):
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


