"""A throwaway Postgres cluster on a loopback port.

initdb runs once a version and role and is copied afterwards. Source and target have clusters of
their own, so their system identifiers differ. As root the server runs as user postgres.
"""
import os
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg2

from .children import CACHE, PATIENCE_S, Child, free_port, tail, temp_folder, wait_until

USER = "postgres"


def bin_folder(name=None):
    """MILLRACE_PG_BIN_SOURCE, …_TARGET (for a server of that name), MILLRACE_PG_BIN, or the newest that Debian installed."""
    chosen = name and os.environ.get(f"MILLRACE_PG_BIN_{name.upper()}") or os.environ.get("MILLRACE_PG_BIN")
    if chosen:
        return Path(chosen)
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"),
                   key=lambda path: int(path.parts[-3]))
    if not found:
        raise RuntimeError("no Postgres server found: apt-get install postgresql")
    return found[-1].parent


SETTINGS = {
    "listen_addresses": "127.0.0.1", "wal_level": "logical", "max_wal_senders": 20,
    "max_replication_slots": 20, "max_connections": 60, "max_prepared_transactions": 10,
    "fsync": "off", "full_page_writes": "off", "shared_buffers": "128MB",
    "max_wal_size": "4GB", "checkpoint_timeout": "30min", "log_min_messages": "warning",
    "log_line_prefix": "%m %p %a ", "logging_collector": "off",
}


def _has_ended(process):
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class Database:
    """One database of a server: the SQL side. Life and death are the server's."""

    def __init__(self, server, database):
        self.server, self.database = server, database
        self._connection = None
        server.views.append(self)

    def __getattr__(self, name):  # name, bin, port, start, stop, restart, kill, …
        if name == "server":
            raise AttributeError(name)
        return getattr(self.server, name)

    def drop_connection(self):
        if self._connection:
            self._connection.close()
            self._connection = None

    # Talking to it.

    def dsn(self, user=USER, password=None, **options):
        secret = f":{password}" if password else ""
        query = "&".join(f"{k}={v}" for k, v in options.items())
        return (f"postgresql://{user}{secret}@127.0.0.1:{self.port}/{self.database}"
                + (f"?{query}" if query else ""))

    def connect(self, autocommit=True, **options):
        connection = psycopg2.connect(self.dsn(**options), connect_timeout=20)
        connection.autocommit = autocommit
        return connection

    def execute(self, sql, parameters=None):
        """Runs sql (several statements are one transaction); the rows of the last one, if any."""
        if self._connection is None or self._connection.closed:
            self._connection = self.connect()
        with self._connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return cursor.fetchall() if cursor.description else None

    def one(self, sql, parameters=None):
        rows = self.execute(sql, parameters)
        return rows[0][0] if rows else None

    @contextmanager
    def transaction(self):
        """A cursor in one transaction on a connection of its own; committed at the end."""
        connection = self.connect(autocommit=False)
        try:
            with connection.cursor() as cursor:
                yield cursor
            connection.commit()
        finally:
            connection.close()

    def psql(self, script):
        """Runs a script by psql, as the file says it; fails on the first error."""
        done = subprocess.run([self.bin / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d",
                               self.dsn()], input=script, text=True, capture_output=True)
        if done.returncode != 0:
            raise AssertionError(f"psql on {self.name}: {done.stderr}")
        return done.stdout

    # What scenarios ask of a source.

    def lsn(self):
        return self.one("select pg_current_wal_insert_lsn()::text")

    def slot(self, name):
        """The row of pg_replication_slots as a dict, or None; `behind` is bytes to the WAL's end."""
        connection = self.connect()
        with connection.cursor() as cursor:
            cursor.execute("""select s.*, pg_wal_lsn_diff(pg_current_wal_insert_lsn(),
                              confirmed_flush_lsn)::bigint as behind
                              from pg_replication_slots s where slot_name = %s""", (name,))
            row = cursor.fetchone()
            names = [column.name for column in cursor.description]
        connection.close()
        return dict(zip(names, row)) if row else None

    def wait_slot_free(self, name, timeout_s=PATIENCE_S):
        wait_until(lambda: not (self.slot(name) or {}).get("active"), timeout_s,
                   f"slot {name} is let go")


class Postgres(Database):
    def __init__(self, name, *, folder=None, binaries=None, start=True, **settings):
        """name: source, target or another; settings override SETTINGS (a dot is written __)."""
        self.name = name
        self.bin = Path(binaries) if binaries else bin_folder(name)
        self.folder = Path(folder) if folder else temp_folder(f"millrace_{name}_")
        self.data = self.folder / "data"
        self.log = self.folder / "postgres.log"
        self.port = free_port()
        self.child = None
        self.views = []
        super().__init__(self, USER)
        self._make_cluster()
        self.configure(**{**SETTINGS, "unix_socket_directories": str(self.folder), **settings})
        if start:
            self.start()

    def _user(self):
        return USER if os.geteuid() == 0 else None

    def _make_cluster(self):
        version = subprocess.run([self.bin / "postgres", "--version"], capture_output=True,
                                 text=True, check=True).stdout.split()[2]
        template = CACHE / f"pg-{version}-{self.name}"
        if os.geteuid() == 0:
            shutil.chown(self.folder, USER, USER)
        if not template.exists():
            fresh = self.folder / "fresh"
            child = Child([self.bin / "initdb", "-D", fresh, "-U", USER, "-A", "trust", "-E", "UTF8",
                           "--locale=C.UTF-8", "--no-sync"], log=self.folder / "initdb.log",
                          user=self._user())
            if child.wait(PATIENCE_S) != 0:
                raise RuntimeError("initdb: " + tail(self.folder / "initdb.log"))
            CACHE.mkdir(parents=True, exist_ok=True)
            mine = CACHE / f".{template.name}.{os.getpid()}"
            shutil.move(fresh, mine)
            try:
                mine.rename(template)
            except OSError:  # another test was first
                shutil.rmtree(mine)
        subprocess.run(["cp", "-a", "--reflink=auto", template, self.data], check=True)
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", f"{USER}:{USER}", self.data], check=True)
        self.data.chmod(0o700)

    def configure(self, **settings):
        with open(self.data / "postgresql.conf", "a") as conf:
            for key, value in settings.items():
                conf.write(f"{key.replace('__', '.')} = '{value}'\n")

    def hba(self, *lines):
        """Puts lines in front of pg_hba.conf (reload or restart afterwards)."""
        path = self.data / "pg_hba.conf"
        path.write_text("\n".join(lines) + "\n" + path.read_text())

    # Life and death.

    def start(self):
        for attempt in range(5):
            self.child = Child([self.bin / "postgres", "-D", self.data, "-p", self.port],
                               log=self.log, stop_signal=signal.SIGQUIT, user=self._user(),
                               cwd=self.folder)
            deadline = time.monotonic() + PATIENCE_S  # it may have to recover first
            while self.child.running() and time.monotonic() < deadline:
                try:
                    psycopg2.connect(self.dsn(), connect_timeout=5).close()
                    return self
                except psycopg2.OperationalError:
                    time.sleep(0.03)
            self.child.kill()
            if "Address already in use" not in tail(self.log):
                break
            self.port = free_port()
        raise RuntimeError(f"{self.name} did not start:\n{tail(self.log)}")

    def stop(self, mode="fast"):
        self._drop_connections()
        if self.child:
            self.child.signal({"fast": signal.SIGINT, "immediate": signal.SIGQUIT,
                               "smart": signal.SIGTERM}[mode])
            self.child.wait(PATIENCE_S)
            self.child = None

    def restart(self, mode="fast"):
        self.stop(mode)
        return self.start()

    def kill(self):
        """SIGKILL to the postmaster; its backends notice and leave. A new one must not begin before the last has."""
        self._drop_connections()
        self.child.signal(signal.SIGSTOP)  # so that it has no more of them than these
        backends = psutil.Process(self.child.pid).children(recursive=True)
        self.child.kill()
        wait_until(lambda: all(map(_has_ended, backends)), what=f"the backends of {self.name} leave", interval_s=0.01)
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _drop_connections(self):
        for view in self.views:
            view.drop_connection()

    def fresh_database(self, name):
        self.execute(f'create database "{name}" template template0')
        return Database(self, name)

    def drop_database(self, view):
        """With its subscriptions and slots, whoever holds them."""
        for (name,) in view.execute("select subname from pg_subscription s join pg_database d on "
                                    "d.oid = s.subdbid where datname = current_database()"):
            view.execute(f"alter subscription {name} disable")
            view.execute(f"alter subscription {name} set (slot_name = none)")
            view.execute(f"drop subscription {name}")
        view.drop_connection()
        self.views.remove(view)
        for (slot,) in self.execute("select slot_name from pg_replication_slots where database = %s",
                                    (view.database,)):
            wait_until(lambda: self.drop_slot(slot), what=f"slot {slot} is let go")
        for (gid,) in view.execute("select gid from pg_prepared_xacts where database = %s",
                                   (view.database,)):
            view.execute(f"rollback prepared '{gid}'")
        view.drop_connection()
        wait_until(lambda: self._unless_in_use(f'drop database "{view.database}" with (force)'),
                   what=f"the sessions of {view.database} have ended")

    def drop_slot(self, slot):
        """False while somebody reads it: a reader that was killed may have asked for it and not have it yet."""
        self.execute("select pg_terminate_backend(active_pid) from pg_replication_slots "
                     "where slot_name = %s and active", (slot,))
        return self._unless_in_use(f"select pg_drop_replication_slot('{slot}')")

    def _unless_in_use(self, sql):
        """A session that is told to end has not ended at once; DROP DATABASE waits 5 s for them."""
        try:
            self.execute(sql)
            return True
        except psycopg2.errors.ObjectInUse:
            return False
