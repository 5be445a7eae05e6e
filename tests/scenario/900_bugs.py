"""900 Old wounds of others, by the names that Debezium's tests gave them, and what users of such relays suffer."""
import threading
import time

import pytest

from support.children import PATIENCE_S, wait_until
from support.world import last_line, stream_of

DDL = "create table public.t (id int primary key, v text)"
EVENTS = "create table public.events (n int, v text)"  # no key: a double or a loss shows


def test_should_not_lose_events_when_multiple_dml_events_share_same_lsn(world):
    """One multi-row statement writes many changes; the relay dies between any two of them."""
    relay = stream_of(world, ["public.t", "public.events"], DDL + ";" + EVENTS)
    relay.start()
    for i in range(12):
        world.source.execute("insert into events select g, 'x' from generate_series(1, 500) g;"
                             "insert into t select %s * 500 + g, 'x' from generate_series(1, 500) g", (i,))
        time.sleep(0.02 * (i % 4))
        relay.kill()
        relay.start()
    world.wait_same("t", "events")
    assert world.target.one("select count(*) from events") == 6000


def test_stop_in_the_middle_of_tx_and_resume(world):
    relay = stream_of(world, ["public.events"], EVENTS)
    relay.start(ready=True)
    world.source.execute("insert into events select g, repeat('x', 100) from generate_series(1, 150000) g")
    for _ in range(4):
        time.sleep(0.15)
        relay.terminate()
        relay.start()
    world.wait_same("events", timeout_s=60)


def test_restart_connector_in_the_middle_of_uncommitted_tx(world):
    relay = stream_of(world, ["public.events"], EVENTS)
    relay.start(ready=True)
    with world.source.transaction() as cursor:
        cursor.execute("insert into events values (1, 'before the restart')")
        world.source.execute("insert into events values (100, 'another transaction')")
        wait_until(lambda: world.target.one("select count(*) from events") == 1, 20, "the other one arrives")
        relay.terminate()
        cursor.execute("insert into events values (2, 'between')")
        world.source.execute("insert into events values (101, 'another')")
        relay.start(ready=True)
        cursor.execute("insert into events values (3, 'after')")
    world.wait_same("events")


def test_should_resume_streaming_after_restart_when_last_event_was_non_transactional_message(world):
    relay = stream_of(world, ["public.events"], EVENTS)
    relay.start(ready=True)
    world.source.execute("insert into events values (1, 'x')")
    world.source.execute("select pg_logical_emit_message(false, 'p', 'the last thing seen')")
    world.wait_same("events")
    time.sleep(1.5)
    relay.kill()
    world.source.execute("insert into events values (2, 'y')")
    relay.start(ready=True)
    world.source.execute("insert into events values (3, 'z')")
    world.wait_same("events")


@pytest.mark.fault(8)
def test_should_stop_connector_on_slot_recreation(world):
    relay = stream_of(world, ["public.events"], EVENTS)
    world.source.execute("insert into events values (1, 'x')")
    relay.catch_up()
    world.source.wait_slot_free(relay.slot)
    world.source.execute("select pg_drop_replication_slot(%s)", (relay.slot,))
    world.source.execute("insert into events values (2, 'nobody saw this')")
    world.source.execute("select pg_create_logical_replication_slot(%s, 'pgoutput')", (relay.slot,))
    world.source.execute("insert into events values (3, 'z')")
    relay.start()
    assert relay.wait(30) == 4
    assert relay.slot in last_line(relay.log_text())
    assert world.target.one("select count(*) from events") == 1


def test_should_flush_lsn_of_unmonitored_activity(world):
    world.source.execute("create table unmonitored (x text)")
    relay = stream_of(world, ["public.events"], EVENTS)
    relay.start(ready=True)
    world.source.execute("insert into unmonitored select repeat('x', 1000) from generate_series(1, 20000)")
    end = world.source.lsn()
    wait_until(lambda: world.source.slot(relay.slot)["behind"] < 100_000 and world.source.one(
        "select confirmed_flush_lsn >= %s::pg_lsn from pg_replication_slots where slot_name = %s", (end, relay.slot)),
        20, "the slot follows")


def test_should_refresh_schema_when_enum_value_added_via_alter_type(world):
    world.both("create type mood as enum ('sad', 'happy')")
    relay = stream_of(world, ["public.m"], "create table public.m (id int primary key, v mood, a mood[])")
    relay.start(ready=True)
    world.source.execute("insert into m values (1, 'sad', '{sad}')")
    world.target.execute("alter type mood add value 'so so' after 'sad'")
    world.source.execute("alter type mood add value 'so so' after 'sad'")
    world.source.execute("insert into m values (2, 'so so', '{\"so so\",happy}'); update m set v = 'so so' where id = 1")
    world.wait_same("m")


def test_enum_recreated_under_a_new_oid(world):
    world.both("create type mood as enum ('sad', 'happy')")
    relay = stream_of(world, ["public.m"], "create table public.m (id int primary key, v mood, a mood[])")
    relay.start(ready=True)
    world.source.execute("insert into m values (1, 'sad', '{sad}')")
    world.wait_same("m")
    world.both("""alter type mood rename to old_mood; create type mood as enum ('sad', 'happy', 'new');
                  alter table m alter v type mood using v::text::mood, alter a type mood[] using a::text::mood[];
                  drop type old_mood""")
    world.source.execute("insert into m values (2, 'new', '{new,sad}'); update m set v = 'new' where id = 1")
    world.wait_same("m")


@pytest.mark.parametrize("sql_type", ["text[]", "int8[]", "numeric[]", "date[]", "uuid[]", "bytea[]"])
def test_should_handle_toasted_array(world, sql_type):
    element = {"text[]": "md5(g::text)", "int8[]": "g::int8 << 33", "numeric[]": "sqrt(g::numeric)",
               "date[]": "'2026-01-01'::date + g % 1000", "uuid[]": "md5(g::text)::uuid",
               "bytea[]": "decode(md5(g::text), 'hex')"}[sql_type]
    world.both(f"create table public.a (id int primary key, v {sql_type}, n int)")
    world.source.execute("alter table a alter v set storage external; alter table a replica identity full")
    relay = stream_of(world, ["public.a"])
    world.source.execute(f"insert into a select 1, array_agg({element}), 0 from generate_series(1, 3000) g")
    world.source.execute("update a set n = 1")
    relay.catch_up()
    world.source.execute("update a set n = 2")
    relay.catch_up()
    world.assert_same("a")


def test_late_committer_is_not_skipped(world):
    """A transaction that began first and commits last has lower ids than what was already seen."""
    world.both("create table public.outbox (id bigint generated by default as identity primary key, v text)")
    relay = stream_of(world, ["public.outbox"])
    relay.start(ready=True)
    for _ in range(10):
        with world.source.transaction() as cursor:
            cursor.execute("insert into outbox (v) values ('late')")
            world.source.execute("insert into outbox (v) values ('early')")
            time.sleep(0.05)
    world.wait_same("outbox")
    assert world.target.one("select count(*) from outbox") == 20


def test_update_and_delete_in_one_batch_is_not_resurrected(world):
    relay = stream_of(world, ["public.t"], DDL)
    world.source.execute("insert into t select g, 'x' from generate_series(1, 1000) g")
    world.source.execute("update t set v = 'y'")
    world.source.execute("delete from t where id % 2 = 0")
    world.source.execute("insert into t values (2, 'again')")
    world.source.execute("delete from t where id = 2")
    relay.catch_up()
    world.assert_same("t")


def test_table_without_changes_for_long_then_one(world):
    """A table's shape is known though its Relation message came in another group, and after every restart."""
    relay = stream_of(world, ["public.t", "public.events"], DDL + ";" + EVENTS)
    world.source.execute("insert into events values (1, 'x')")
    relay.catch_up()
    for i in range(3):
        world.source.execute("insert into t values (%s, 'x')", (i,))
        relay.catch_up()
    relay.start(ready=True)
    world.source.execute("update t set v = v where false; insert into events values (2, 'y')")
    world.wait_same("t", "events")


def test_writers_that_never_pause(world):
    """Group limits by time alone would starve; many writers, small transactions, kills in between."""
    relay = stream_of(world, ["public.t", "public.events"], DDL + ";" + EVENTS)
    relay.start(ready=True)
    stop = threading.Event()

    def write(number):
        connection = world.source.connect()
        with connection.cursor() as cursor:
            i = 0
            while not stop.is_set():
                i += 1
                cursor.execute("insert into t values (%s, 'x') on conflict (id) do update set v = t.v || 'u'",
                               (number * 1000 + i % 50,))
                cursor.execute("insert into events values (%s, 'e')", (i,))
        connection.close()
    writers = [threading.Thread(target=write, args=(n,), daemon=True) for n in range(4)]
    for writer in writers:
        writer.start()
    for _ in range(3):
        time.sleep(1)
        relay.kill()
        relay.start()
    stop.set()
    for writer in writers:
        writer.join(PATIENCE_S)
    world.wait_same("t", "events")


def test_many_tables_in_one_transaction(world):
    tables = [f"public.t{i}" for i in range(60)]
    relay = stream_of(world, tables, ";".join(f"create table {t} (id int primary key, v text)" for t in tables))
    with world.source.transaction() as cursor:
        for t in tables:
            cursor.execute(f"insert into {t} select g, 'x' from generate_series(1, 20) g")
    with world.source.transaction() as cursor:
        for t in reversed(tables):
            cursor.execute(f"update {t} set v = 'y'; delete from {t} where id > 10")
    relay.catch_up()
    world.assert_same(*tables)


@pytest.mark.fault(8)
def test_publication_dropped_under_the_relay(world):
    """Refused or stopped, never on without the rows."""
    relay = stream_of(world, ["public.t"], DDL)
    relay.start(ready=True)
    world.source.execute("insert into t values (1, 'x')")
    world.wait_same("t")
    world.source.execute(f"drop publication {relay.slot}")
    world.source.execute("insert into t values (2, 'nobody may lose this')")

    def noticed():
        if not relay.running():
            return True
        status = relay.status()
        return status and status["health"]["state"] in ("stopped", "blocked")
    wait_until(noticed, 30, "the missing publication is noticed")
    assert world.target.one("select count(*) from t") == 1
