"""080 Transactions of every shape: savepoints, aborts, interleaved commits, two phases, unpublished tables, messages."""
import pytest

from support.children import wait_until
from support.world import stream_of

DDL = "create table public.t (id int primary key, v text)"


def test_ten_thousand_savepoints_with_rollback(world):
    relay = stream_of(world, ["public.t"], DDL)
    world.source.psql("begin;" + "".join(
        f"savepoint s; insert into t values ({i}, 'kept'); "
        f"savepoint r; insert into t values ({i + 100000}, 'never'); update t set v = 'never' where id = {i}; "
        f"rollback to r; release s;" for i in range(10_000)) + "commit;")
    relay.catch_up()
    world.assert_same("t")
    assert world.target.one("select count(*) from t where v = 'kept'") == 10_000


def test_nested_savepoints(world):
    relay = stream_of(world, ["public.t"], DDL)
    world.source.psql("""
        begin; insert into t values (1, 'a'); savepoint a; insert into t values (2, 'b'); savepoint b;
        update t set v = 'lost'; savepoint c; delete from t; release c; rollback to b; insert into t values (3, 'c');
        rollback to a; insert into t values (2, 'again'); commit;
        do $$ begin insert into t values (10, 'x'); begin insert into t values (11, 'x'); raise 'no';
        exception when others then insert into t values (12, 'caught'); end; end $$;""")
    relay.catch_up()
    world.assert_same("t")


def test_aborted_transactions_leave_nothing(world):
    relay = stream_of(world, ["public.t"], DDL)
    for i in range(20):
        connection = world.source.connect(autocommit=False)
        cursor = connection.cursor()
        cursor.execute("insert into t select %s + g, 'maybe' from generate_series(1, 100) g", (i * 1000,))
        connection.commit() if i % 4 == 0 else connection.rollback()
        connection.close()
    relay.catch_up()
    world.assert_same("t")
    assert world.target.one("select count(*) from t") == 500


@pytest.mark.parametrize("kafka", [False, True], ids=["embedded", "kafka"])
def test_interleaved_commits(world, kafka):
    """Transactions that overlap arrive in commit order, whichever began first."""
    relay = stream_of(world, ["public.t"], DDL, kafka=kafka)
    world.source.execute("insert into t select g, '' from generate_series(1, 10) g")
    connections = [world.source.connect(autocommit=False) for _ in range(8)]
    cursors = [connection.cursor() for connection in connections]
    for round_ in range(5):
        for number, cursor in enumerate(cursors):
            cursor.execute("insert into t values (%s, 'i')", (1000 + round_ * 100 + number,))
        for number in [5, 2, 7, 0, 3]:
            cursors[number].execute("update t set v = v || %s where id = 1", (f"{round_}{number} ",))
            connections[number].commit()
        for number in [6, 1, 4]:
            if number == 1:
                connections[number].rollback()
            else:
                connections[number].commit()
    for connection in connections:
        connection.close()
    relay.catch_up()
    world.assert_same("t")


def test_restart_in_the_middle_of_an_open_transaction(world):
    relay = stream_of(world, ["public.t"], DDL)
    relay.start(ready=True)
    connection = world.source.connect(autocommit=False)
    cursor = connection.cursor()
    cursor.execute("insert into t select g, 'open' from generate_series(1, 1000) g")
    world.source.execute("insert into t values (-1, 'beside')")
    world.wait_same("t")
    relay.kill()
    relay.start(ready=True)
    cursor.execute("insert into t select g, 'open' from generate_series(2001, 3000) g")
    world.source.execute("insert into t values (-2, 'beside')")
    relay.terminate()
    relay.start(ready=True)
    connection.commit()
    connection.close()
    world.wait_same("t")
    assert world.target.one("select count(*) from t") == 2002


def test_transactions_on_unpublished_tables_only(world):
    """They carry nothing, and the slot moves over them without a heartbeat table."""
    world.source.execute("create table other (id int)")
    relay = stream_of(world, ["public.t"], DDL)
    world.source.execute("insert into t values (1, 'x')")
    relay.start(ready=True)
    world.wait_same("t")
    before = world.source.slot(relay.slot)["confirmed_flush_lsn"]
    for _ in range(50):
        world.source.execute("insert into other select generate_series(1, 1000)")
    end = world.source.lsn()
    wait_until(lambda: world.source.one("select confirmed_flush_lsn >= %s::pg_lsn from pg_replication_slots "
                                        "where slot_name = %s", (end, relay.slot)), 30,
               f"the slot leaves {before} for {end}")
    world.assert_same("t")


def test_two_phase_commit(world):
    """A prepared transaction arrives at its COMMIT PREPARED, and not before."""
    relay = stream_of(world, ["public.t"], DDL)
    world.source.psql("begin; insert into t values (1, 'prepared'), (2, 'x'); prepare transaction 'one'")
    world.source.psql("begin; insert into t values (5, 'never'); prepare transaction 'two'")
    world.source.execute("insert into t values (3, 'beside')")
    relay.catch_up()
    assert world.target.execute("select id from t order by 1") == [(3,)]
    world.source.execute("commit prepared 'one'")
    world.source.execute("rollback prepared 'two'")
    relay.catch_up()
    world.assert_same("t")
    assert world.target.one("select count(*) from t") == 3


def test_logical_messages_are_let_by(world):
    relay = stream_of(world, ["public.t"], DDL)
    world.source.execute("select pg_logical_emit_message(false, 'someone', 'outside')")
    with world.source.transaction() as cursor:
        cursor.execute("insert into t values (1, 'x')")
        cursor.execute("select pg_logical_emit_message(true, 'someone', 'inside')")
        cursor.execute("select pg_logical_emit_message(false, 'someone', decode('00ff', 'hex'))")
        cursor.execute("insert into t values (2, 'y')")
    world.source.execute("select pg_logical_emit_message(true, '', 'alone in its transaction')")
    connection = world.source.connect(autocommit=False)
    connection.cursor().execute("insert into t values (3, 'z'); select pg_logical_emit_message(false, 'p', 'of an abort')")
    connection.rollback()
    connection.close()
    relay.catch_up()
    world.assert_same("t")
    world.source.execute("select pg_logical_emit_message(false, 'someone', 'last'); insert into t values (4, 'w')")
    relay.catch_up()
    world.assert_same("t")


def test_ddl_between_rows(world):
    """A column added at the target first, then at the source; then dropped: the stream's shape follows."""
    relay = stream_of(world, ["public.t"], DDL)
    world.source.execute("insert into t values (1, 'x')")
    world.target.execute("alter table t add n int")
    world.source.execute("alter table t add n int default 7")
    world.source.execute("insert into t values (2, 'y', 8); update t set v = 'z' where id = 1")
    relay.catch_up()
    world.assert_same("t")
    world.source.execute("alter table t drop column v; insert into t values (3, 9)")
    world.target.execute("alter table t drop column v")
    relay.catch_up()
    world.assert_same("t")


def test_empty_and_odd_transactions(world):
    relay = stream_of(world, ["public.t"], DDL)
    world.source.psql("begin; commit; begin; select txid_current(); commit; begin; update t set v = 'x' where false; commit;"
                      "vacuum t; analyze t; begin; insert into t values (1, 'x'); delete from t; commit;"
                      "begin; insert into t values (1, 'y'); update t set v = v; commit; checkpoint;")
    relay.catch_up()
    world.assert_same("t")
