"""The servers of one bench run, and the databases of one work: made once, read by every contender in every round."""
import os
from pathlib import Path

import psutil

from support.children import temp_folder
from support.kafka import Kafka
from support.postgres import Database, Postgres

# Durable as users have it, but for the disk's own flush, which is the machine's and not ours.
DURABLE = dict(fsync="off", full_page_writes="on", synchronous_commit="on", shared_buffers="256MB",
               max_wal_size="16GB", max_replication_slots="200", max_wal_senders="50", max_connections="200")


class Bench:
    def __init__(self, options):
        self.options = options
        self.folder = temp_folder("millrace_bench_")
        self.source = Postgres("source", **DURABLE)
        # A subscription's worker otherwise waits up to five seconds to start, which is not its speed.
        self.target = Postgres("target", wal_retrieve_retry_interval="100ms", **DURABLE)
        self._kafka = None
        self.broker_is_warm = False
        self._number = 0
        self.end_lsn = None

    def kafka(self):
        if self._kafka is None:
            self._kafka = Kafka()
        return self._kafka

    def broker_pid(self):
        return self._kafka.child.pid if self._kafka else None

    def number(self):
        self._number += 1
        return self._number

    def databases(self):
        """A fresh one on either side: the source's for all contenders, the target's to be copied for each."""
        name = f"b{self.number()}"
        return self.source.fresh_database(name), self.target.fresh_database(name)

    def copy_of(self, template):
        """A target database like `template`, with the rows that it has."""
        template.drop_connection()
        name = f"b{self.number()}"
        self.target.execute(f'create database "{name}" template "{template.database}" strategy file_copy')
        return Database(self.target, name)

    def drop(self, source, *targets):
        for target in targets:
            self.target.drop_database(target)
        self.source.drop_database(source)
        self.source.execute("checkpoint")  # lets go of the WAL that the slots kept


def machine():
    """What the figures were taken on; shown above every table."""
    model = next((line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), "unknown")
    return f"{os.cpu_count()} cores ({model}), {psutil.virtual_memory().total / 2**30:.0f} GB, everything on them"
