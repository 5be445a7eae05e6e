"""A throwaway Kafka: one KRaft node from the jars that with_kafka.sh fetches."""
import base64
import json
import os
import socket
import subprocess
import uuid
from pathlib import Path

from .children import CACHE, Child, free_port, tail, temp_folder, wait_until
from .proxy import Proxy

HERE = Path(__file__).resolve().parent


def home():
    version = os.environ.get("MILLRACE_KAFKA_VERSION", "3.9.1")
    return Path(os.environ.get("MILLRACE_KAFKA_HOME", CACHE / f"kafka-{version}"))


def cluster_id():
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")


class Kafka:
    def __init__(self, *, start=True, watch=None, proxied=False, identifier=None, ports=None,
                 formatted_with=(), **settings):
        """settings override the broker's properties; a dot is written __. proxied: clients come by `proxy` (watch:
        what it is made with). identifier, ports (broker, controller): given for a node of a Cluster. formatted_with:
        further arguments of StorageTool's format."""
        subprocess.run([HERE / "with_kafka.sh", "--fetch-only"], check=True)
        self.folder = temp_folder("millrace_kafka_")
        self.log = self.folder / "broker.log"
        self.port, self.control_port = ports or (free_port(), free_port())
        self.child = None
        self.proxy = Proxy(lambda: self.port, watch) if proxied else None
        self._write(settings)
        subprocess.run(self.java(128) + ["kafka.tools.StorageTool", "format", "-t", identifier or cluster_id(), "-c",
                                          self.folder / "broker.properties", *formatted_with],
                       check=True, capture_output=True)
        if start:
            self.start()

    @property
    def brokers(self):
        """Where clients are sent to, which the broker advertises too."""
        return f"127.0.0.1:{self.proxy.port if self.proxy else self.port}"

    def java(self, heap_mb):
        return ["java", f"-Xmx{heap_mb}m", "-XX:+UseSerialGC", "-cp", f"{home()}/libs/*",
                "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", f"-Djava.io.tmpdir={self.folder}"]

    def _write(self, settings):
        values = {
            "process.roles": "broker,controller", "node.id": 1,
            "controller.quorum.voters": f"1@127.0.0.1:{self.control_port}",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},"
                         f"CONTROLLER://127.0.0.1:{self.control_port}",
            "advertised.listeners": f"PLAINTEXT://{self.brokers}",
            "controller.listener.names": "CONTROLLER", "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": self.folder / "data", "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 1, "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1, "transaction.state.log.num.partitions": 4,
            "group.initial.rebalance.delay.ms": 0, "auto.create.topics.enable": "false",
            "log.retention.check.interval.ms": 2000, "socket.request.max.bytes": 209715200,
            # An index is a mapped file with a hole, and the first touch of it reads as far ahead as the disk is set to:
            # with 8 MB a broker with many new partitions does little but zero pages.
            "log.index.size.max.bytes": 262144,
        }
        values.update({k.replace("__", "."): v for k, v in settings.items()})
        (self.folder / "broker.properties").write_text(
            "".join(f"{k}={v}\n" for k, v in values.items()))

    def start(self, *, wait=True):
        self.child = Child(self.java(512) + ["kafka.Kafka", self.folder / "broker.properties"],
                           log=self.log, cwd=self.folder)
        return self.wait() if wait else self

    def wait(self):
        def answers():
            if not self.child.running():
                raise RuntimeError("the broker ended at its start:\n" + tail(self.log))
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return True
            except OSError:
                return False
        wait_until(answers, what="the broker answers")
        return self

    def configure_topic(self, topic, setting):
        subprocess.run(self.java(128) + ["kafka.admin.ConfigCommand", "--bootstrap-server", self.brokers, "--alter",
                                         "--entity-type", "topics", "--entity-name", topic, "--add-config", setting],
                       check=True, capture_output=True)

    def stop(self):
        self.child.stop()

    def kill(self):
        self.child.kill()


class Cluster:
    """Three nodes; rows and manifests are kept on all of them, and two must have a record before it counts."""

    def __init__(self):
        identifier = cluster_id()
        ports = [(free_port(), free_port()) for _ in range(3)]
        voters = ",".join(f"{number}@127.0.0.1:{control}" for number, (_, control) in enumerate(ports, 1))
        self.nodes = [Kafka(start=False, identifier=identifier, ports=pair, node__id=number,
                            controller__quorum__voters=voters, min__insync__replicas=2,
                            broker__session__timeout__ms=6000, broker__heartbeat__interval__ms=1000)
                      for number, pair in enumerate(ports, 1)]
        for node in self.nodes:
            node.start(wait=False)
        for node in self.nodes:
            node.wait()

    @property
    def brokers(self):
        return ",".join(node.brokers for node in self.nodes)

    def wait_in_sync(self, timeout_s=120):
        """Every node is up and has every record."""
        def complete():
            done = subprocess.run(["kcat", "-L", "-J", "-m", "5", "-b", self.brokers], capture_output=True, text=True)
            if done.returncode != 0:
                return False
            partitions = [p for topic in json.loads(done.stdout)["topics"] for p in topic["partitions"]]
            return all(len(p["isrs"]) == len(p["replicas"]) for p in partitions)
        wait_until(complete, timeout_s, "the brokers are in sync", 0.2)

    def heal(self):
        for node in self.nodes:
            if not node.child.running():
                node.start()

    def kill(self):
        for node in self.nodes:
            node.kill()
