"""410 A commit that the WAL has and snapshots do not: a copy that begins meanwhile must not bring the old row back.

A synchronous standby that does not answer holds commits back. They are streamed and applied all the same; what is read
from the source's tables still shows what was before them. A copy with --replace waits until they are visible."""
import threading

import psycopg2

import pytest

from support.children import PATIENCE_S, wait_until
from support.world import stream_of

DDL = "create table public.t (id int primary key, v text)"


class Hanging:
    """A session whose COMMIT waits for a standby that is not there."""

    def __init__(self, source, sql):
        self.connection = source.connect()
        self.thread = threading.Thread(target=self.run, args=(sql,), daemon=True)
        self.thread.start()

    def run(self, sql):
        try:
            with self.connection.cursor() as cursor:
                cursor.execute(sql)
        except psycopg2.Error:
            pass  # told by what it leaves behind

    def end(self):
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive()
        self.connection.close()


def standby(world, names):
    world.source.execute("set synchronous_commit = local")
    world.source.execute(f"alter system set synchronous_standby_names = '{names}'")
    world.source.execute("select pg_reload_conf()")
    wait_until(lambda: world.source.one("show synchronous_standby_names") == names, 10, "the setting")


def copy_beside_hanging_commits(world, mutate=""):
    relay = stream_of(world, ["public.t"], DDL, env={"MILLRACE_MUTATE": mutate})
    world.source.execute("insert into t values (1, 'old'), (2, 'old'), (3, 'old')")
    relay.start(ready=True)
    world.wait_same("t")
    standby(world, "nobody")
    hanging = []
    try:
        hanging = [Hanging(world.source, "update t set v = 'new' where id = 1"),
                   Hanging(world.source, "delete from t where id = 2")]
        wait_until(lambda: world.target.execute("select id, v from t order by id") == [(1, "new"), (3, "old")], 30,
                   "the stream brings what can not be seen yet")
        assert world.source.execute("select id, v from t order by id") == [(1, "old"), (2, "old"), (3, "old")]
        started = relay.command("backfill", "start", "--table", "t", "--replace")
        assert started.returncode == 0, started.stderr
        status = relay.wait_status(lambda s: s["backfill"]["state"] == "done" or "waits for" in s["backfill"]["why"],
                                   what="the copy waits")
        if not mutate:
            assert status["backfill"]["state"] == "waiting"
            assert "transaction " in status["backfill"]["why"] and "SyncRep" in status["backfill"]["why"]
            for words in (["status"], ["backfill", "status"]):  # one word and one reason in both
                said = relay.command(*words).stdout
                assert "waiting" in said and "it waits for transaction " in said, said
    finally:
        standby(world, "")
        for session in hanging:
            session.end()
    relay.wait_status(lambda s: s["backfill"]["state"] == "done", what="the copy ends")
    relay.stop()
    relay.catch_up()
    return world.differences("t")


@pytest.mark.fault(19)
def test_the_newer_rows_survive(world):
    assert copy_beside_hanging_commits(world) == []


def test_a_place_in_the_wal_alone_is_not_enough(world):
    found = copy_beside_hanging_commits(world, "plain_lsn")
    assert found, "the mutation was not noticed"
    assert "('1', 'old')" in found[0] and "('2', 'old')" in found[0]
