"""Debezium on Kafka Connect, to Kafka and on by its JDBC sink: optional (`--peers`), fetched once by Maven.

One standalone worker, set for speed: batches of 8192, a queue of 32768, polls of 10 ms, lz4, ParallelGC. Its clocks, of
time and of CPU, start with its first record in the broker: how a JVM starts and finds plugins is not what is compared.
Its warm rate is that of the second half of what it brought, when its compiler has done its work.
"""
import subprocess
import tarfile
import time

from support.children import CACHE, Child, free_port, tail, wait_until

from . import meters
from .contenders import Contender

DEBEZIUM, CONNECT = "3.6.0.Final", "4.3.0"
HOME = CACHE / f"debezium-{DEBEZIUM}-connect-{CONNECT}"
PLUGINS = ["debezium-connector-postgres", "debezium-connector-jdbc"]
LIBRARIES = [("org.apache.kafka", "connect-runtime", CONNECT), ("org.apache.kafka", "connect-json", CONNECT),
             ("org.apache.kafka", "connect-transforms", CONNECT), ("org.slf4j", "slf4j-simple", "1.7.36")]
POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>millrace</groupId><artifactId>bench-peers</artifactId><version>1</version>
  <dependencies>{}</dependencies>
</project>
"""


def fetch():
    """libs/ and plugins/ under HOME."""
    if (HOME / ".complete").exists():
        return HOME
    HOME.mkdir(parents=True, exist_ok=True)
    (HOME / "pom.xml").write_text(POM.format("".join(
        f"<dependency><groupId>{g}</groupId><artifactId>{a}</artifactId><version>{v}</version></dependency>"
        for g, a, v in LIBRARIES)))
    maven = ["mvn", "-q", "-B", "-Dstyle.color=never"]
    subprocess.run(maven + ["dependency:copy-dependencies", "-DoutputDirectory=libs"], cwd=HOME, check=True)
    for plugin in PLUGINS:
        subprocess.run(maven + ["dependency:copy", f"-Dartifact=io.debezium:{plugin}:{DEBEZIUM}:tar.gz:plugin",
                                "-DoutputDirectory=."], cwd=HOME, check=True)
        with tarfile.open(HOME / f"{plugin}-{DEBEZIUM}-plugin.tar.gz") as archive:
            archive.extractall(HOME / "plugins")
    (HOME / ".complete").touch()
    return HOME


def warm_rate(progress, changes):
    """progress: (seconds, amount), the last of them the end. The rate of the second half; None when it was not seen."""
    whole = progress[-1][1] if progress else 0
    half = next(((at, amount) for at, amount in progress if amount >= whole / 2), None)
    if not whole or progress[-1][0] <= half[0]:
        return None
    return changes * (whole - half[1]) / whole / (progress[-1][0] - half[0])


def properties(path, values):
    path.write_text("".join(f"{key}={value}\n" for key, value in values.items()))
    return path


class DebeziumCapture(Contender):
    name, title = "debezium_capture", "Debezium → Kafka"
    reads_only, broker = True, True
    works = ("rows100", "single")
    looked, every_s = 0.0, 0.05
    schemas = "false"  # in every record: its sink needs them, a topic alone does not

    def __init__(self, *arguments, config=None):
        super().__init__(*arguments)
        self.kafka, self.child, self.progress = self.bench.kafka(), None, []
        self.folder = self.bench.folder / self.label
        self.folder.mkdir()
        self.source.execute(f"create publication {self.label} for table {', '.join(self.tables)}")
        self.source.execute("select pg_create_logical_replication_slot(%s, 'pgoutput')", (self.label,))

    def worker(self):
        converter = "org.apache.kafka.connect.json.JsonConverter"
        return properties(self.folder / "worker.properties", {
            "bootstrap.servers": self.kafka.brokers, "plugin.path": HOME / "plugins", "plugin.discovery": "only_scan",
            "listeners": f"http://127.0.0.1:{free_port()}", "key.converter": converter, "value.converter": converter,
            "key.converter.schemas.enable": self.schemas, "value.converter.schemas.enable": self.schemas,
            "offset.storage.file.filename": self.folder / "offsets", "offset.flush.interval.ms": 1000,
            "producer.compression.type": "lz4", "producer.batch.size": 262144, "producer.linger.ms": 5})

    def connectors(self):
        return [properties(self.folder / "source.properties", {
            "name": f"{self.label}_source", "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
            "tasks.max": 1, "plugin.name": "pgoutput", "database.hostname": "127.0.0.1",
            "database.port": self.source.port, "database.user": "postgres", "database.password": "none",
            "database.dbname": self.source.database, "topic.prefix": self.label, "slot.name": self.label,
            "publication.name": self.label, "publication.autocreate.mode": "disabled", "snapshot.mode": "no_data",
            "max.batch.size": 8192, "max.queue.size": 32768, "poll.interval.ms": 10,
            "topic.creation.default.partitions": 3, "topic.creation.default.replication.factor": 1})]

    def start(self):
        argv = ["java", "-Xms256m", "-Xmx1g", "-XX:+UseParallelGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
                "-cp", f"{HOME}/libs/*", "org.apache.kafka.connect.cli.ConnectStandalone", self.worker()]
        self.child = Child(argv + self.connectors(), log=self.folder / "connect.log", cwd=self.folder)

        def began():
            assert self.child.running(), f"the worker ended:\n{tail(self.folder / 'connect.log')}"
            return self.in_broker("*")
        wait_until(began, 120, "Debezium's first record", 0.005)
        self.cpu_before = meters.process_cpu(self.child.pid)
        return time.monotonic()

    def in_broker(self, table):
        """Bytes of a table's topic, as its files have them."""
        files = (self.kafka.folder / "data").glob(f"{self.label}.public.{table}-*/*.log")
        return sum(path.stat().st_size for path in files)

    def brought(self):
        """Grows with the rows that have arrived, from 0."""
        return self.in_broker("rows_")

    def look(self):
        self.looked = time.monotonic()
        self.progress.append((self.looked, self.brought()))

    def notice(self):
        if time.monotonic() - self.looked > self.every_s:
            self.look()

    def more(self, changes):
        return {"warm_rate": warm_rate(self.progress, changes)}

    def pids(self):
        return [self.child.pid] if self.child else []

    def stages(self):
        backends = [pid for (pid,) in self.bench.target.execute(
            "select pid from pg_stat_activity where datname = %s and application_name like %s",
            (self.target.database, "PostgreSQL JDBC%"))]
        return {**self.walsender(), "connect": meters.process_cpu(self.child.pid) - self.cpu_before,
                "target": sum(map(meters.threads_cpu, backends))}

    def arrived(self, _end_lsn):
        if not self.in_broker("bench_end"):  # sent after all others
            return False
        self.look()
        return True

    def stop(self):
        self.child.stop(20)
        self.source.wait_slot_free(self.label, 30)
        self.source.execute("select pg_drop_replication_slot(%s)", (self.label,))
        self.source.execute(f"drop publication {self.label}")


class Debezium(DebeziumCapture):
    """Both connectors in one worker. Its sink takes topics in any order, so the rows are counted."""
    name, title = "debezium", "Debezium, JDBC sink"
    reads_only, schemas, every_s = False, "true", 0.25
    counted = 0.0

    def connectors(self):
        return super().connectors() + [properties(self.folder / "sink.properties", {
            "name": f"{self.label}_sink", "connector.class": "io.debezium.connector.jdbc.JdbcSinkConnector",
            "tasks.max": 1, "topics.regex": f"{self.label}\\\\.public\\\\..*",
            "connection.url": f"jdbc:postgresql://127.0.0.1:{self.target.port}/{self.target.database}",
            "connection.username": "postgres", "connection.password": "none", "insert.mode": "upsert",
            "delete.enabled": "true", "primary.key.mode": "record_key", "schema.evolution": "none",
            "collection.name.format": "${source.table}", "batch.size": 8192, "use.reduction.buffer": "true",
            "consumer.override.max.poll.records": 8192, "consumer.override.metadata.max.age.ms": 500})]

    def brought(self):
        return self.target.one("select pg_relation_size('rows_')")

    def arrived(self, _end_lsn):
        if time.monotonic() - self.counted < 0.25 or not self.target.one("select exists (select from bench_end)"):
            return False
        self.counted = time.monotonic()
        if self.target.one("select count(*) from rows_") != self.source.one("select count(*) from rows_"):
            return False
        self.look()
        return True


ALL = [DebeziumCapture, Debezium]
