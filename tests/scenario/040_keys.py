"""040 Keys: composite, changed, swapped and chained, deleted and inserted again, replica identities, none.

A collapsed bulk statement can meet a unique index where the source's own order did not."""
import pytest

from support.world import stream_of

PAIR = "create table public.k (a int, b text, v int, primary key (a, b))"
UNIQUE = "create table public.u (id int primary key, slot int unique, code text unique, v int)"


def steps(world, relay, tables, *transactions):
    """Each transaction is a list of statements; equal after all of them, streamed in one go."""
    for statements in transactions:
        with world.source.transaction() as cursor:
            for statement in statements:
                cursor.execute(statement)
    relay.catch_up()
    world.assert_same(*tables)


def test_composite_keys(world):
    relay = stream_of(world, ["public.k"], PAIR)
    steps(world, relay, ["k"],
          ["insert into k select g % 10, 'b' || g / 10, g from generate_series(0, 999) g"],
          ["update k set v = -v where a = 3"], ["delete from k where b = 'b7'"],
          ["update k set b = b || 'x' where a = 5"], ["update k set a = a + 100 where b < 'b2'"],
          ["insert into k values (1, '', 1), (1, ' ', 2), (-1, 'null', 3)"])


def test_column_order_of_the_key_is_not_the_tables(world):
    relay = stream_of(world, ["public.k"], "create table public.k (v text, b int, a int, primary key (a, b))")
    steps(world, relay, ["k"], ["insert into k values ('x', 1, 2), ('y', 2, 1)"],
          ["update k set v = 'z' where a = 1"], ["delete from k where a = 2"])


def test_key_change(world):
    relay = stream_of(world, ["public.k"], PAIR)
    steps(world, relay, ["k"], ["insert into k select g, 'b', g from generate_series(1, 100) g"],
          ["update k set a = a + 1000 where a <= 50"], ["update k set a = -a"],
          ["update k set a = 7 where a = -1050", "update k set a = -1050 where a = 7"])


@pytest.mark.parametrize("kafka", [False, True], ids=["embedded", "kafka"])
def test_swap_of_keys(world, kafka):
    relay = stream_of(world, ["public.k"], PAIR, kafka=kafka)
    steps(world, relay, ["k"], ["insert into k values (1, 'b', 10), (2, 'b', 20)"],
          ["update k set a = 0 where a = 1", "update k set a = 1 where a = 2", "update k set a = 2 where a = 0"])
    assert world.target.execute("select a, v from k order by a") == [(1, 20), (2, 10)]


def test_swap_with_a_deferred_constraint(world):
    """The source may hold a duplicate for a moment; the relay sees two updates in that order."""
    world.both("create table public.d (id int primary key, slot int unique deferrable initially deferred)")
    relay = stream_of(world, ["public.d"])
    steps(world, relay, ["d"], ["insert into d values (1, 1), (2, 2), (3, 3)"],
          ["update d set slot = 2 where id = 1", "update d set slot = 1 where id = 2"],
          ["update d set slot = slot % 3 + 1"])


def test_chain_of_keys(world):
    relay = stream_of(world, ["public.k"], PAIR)
    steps(world, relay, ["k"], ["insert into k select g, 'b', g from generate_series(1, 50) g"],
          # 50 → 51, 49 → 50, …: each key is taken over from its predecessor in one transaction.
          [f"update k set a = {i + 1} where a = {i}" for i in range(50, 0, -1)],
          [f"update k set a = {i - 1} where a = {i}" for i in range(2, 52)])


def test_chain_and_swap_of_another_unique_column(world):
    relay = stream_of(world, ["public.u"], UNIQUE)
    steps(world, relay, ["u"], ["insert into u select g, g, 'c' || g, g from generate_series(1, 30) g"],
          [f"update u set slot = {i + 1} where id = {i}" for i in range(30, 0, -1)],
          ["update u set slot = 0 where id = 1", "update u set slot = 2 where id = 2 and false",
           "update u set slot = 1000 where id = 2", "update u set slot = 3 where id = 1",
           "update u set slot = 2 where id = 2"],
          ["update u set code = 'tmp' where id = 4", "update u set code = 'c4' where id = 5",
           "update u set code = 'c5' where id = 4"])


def test_unique_value_handed_to_a_new_row(world):
    relay = stream_of(world, ["public.u"], UNIQUE)
    steps(world, relay, ["u"], ["insert into u values (1, 1, 'a', 0)"],
          ["delete from u where id = 1", "insert into u values (2, 1, 'a', 0)"],
          ["update u set slot = 5, code = 'b' where id = 2", "insert into u values (3, 1, 'a', 0)"],
          ["insert into u values (4, 9, 'z', 0)", "delete from u where id = 4", "insert into u values (5, 9, 'z', 0)",
           "update u set slot = 10 where id = 5", "insert into u values (6, 9, 'zz', 1)"])


def test_many_unique_conflicts_in_one_group(world):
    """The way back, in the source's order, holds for a large group too."""
    relay = stream_of(world, ["public.u"], UNIQUE)
    steps(world, relay, ["u"], ["insert into u select g, g, 'c' || g, g from generate_series(1, 2000) g"])
    steps(world, relay, ["u"],
          ["update u set slot = slot + 100000", "update u set slot = 100000 + 2001 - (slot - 100000) + 200000",
           "update u set v = v + 1 where id % 3 = 0", "delete from u where id % 5 = 0"],
          ["insert into u select g, 500000 + g, 'd' || g, g from generate_series(5, 2000, 5) g"])


def test_delete_then_insert_and_insert_then_delete(world):
    relay = stream_of(world, ["public.k"], PAIR)
    steps(world, relay, ["k"], ["insert into k values (1, 'b', 1), (2, 'b', 2)"])
    steps(world, relay, ["k"],
          ["delete from k where a = 1", "insert into k values (1, 'b', 111)"],
          ["insert into k values (3, 'b', 3)", "delete from k where a = 3"],
          ["insert into k values (4, 'b', 4)", "update k set v = 5 where a = 4", "delete from k where a = 4",
           "insert into k values (4, 'b', 6)"],
          ["delete from k where a = 2"], ["insert into k values (2, 'b', 222)"], ["delete from k where a = 2"])
    assert world.target.execute("select a, v from k order by a") == [(1, 111), (4, 6)]


@pytest.mark.parametrize("kafka", [False, True], ids=["embedded", "kafka"])
def test_one_key_thousands_of_times(world, kafka):
    """The last change wins, whatever group or partition it came in."""
    relay = stream_of(world, ["public.k"], PAIR, kafka=kafka).start()
    world.source.execute("insert into k values (1, 'b', 0), (2, 'b', 0)")
    connection = world.source.connect()
    with connection.cursor() as cursor:
        for i in range(3000):
            cursor.execute("update k set v = %s where a = %s", (i, 1 + i % 2))
            if i % 100 == 50:
                cursor.execute("delete from k where a = 2")
                cursor.execute("insert into k values (2, 'b', -1)")
    connection.close()
    world.wait_same("k")


@pytest.mark.parametrize("identity", ["full", "index"])
def test_replica_identities(world, identity):
    world.both("create table public.r (id int primary key, code text not null, v text)")
    if identity == "full":
        world.source.execute("alter table r replica identity full")
    else:
        world.both("create unique index r_code on r (code)")
        world.source.execute("alter table r replica identity using index r_code")
    relay = stream_of(world, ["public.r"])
    steps(world, relay, ["r"], ["insert into r select g, 'c' || g, null from generate_series(1, 20) g"],
          ["update r set v = 'x' where id <= 10"], ["update r set code = code || '!' where id > 5"],
          ["delete from r where id % 4 = 0"], ["update r set id = id + 100 where id < 4"],
          ["update r set code = 'tmp' where id = 5", "update r set code = 'c5' where id = 6",
           "update r set code = 'c6!' where id = 5"])


def test_table_without_a_key_is_append_only(world):
    relay = stream_of(world, ["public.events"], "create table public.events (at timestamptz, what text)")
    relay.start(ready=True)
    for _ in range(5):
        world.source.execute("insert into events select now(), 'same' from generate_series(1, 100)")
        relay.kill()
        relay.start()
    world.wait_same("events")
    assert world.target.one("select count(*) from events") == 500


def test_table_without_a_key_full_identity(world):
    """Updates and deletes match one whole row, also among equal ones and with NULLs."""
    world.both("create table public.bag (n int, t text, f float8, j json)")
    world.source.execute("alter table bag replica identity full")
    relay = stream_of(world, ["public.bag"])
    steps(world, relay, ["bag"],
          ["insert into bag select g % 3, case when g % 2 = 0 then 'x' end, 0.1 * g, '{\"a\":  1}' "
           "from generate_series(1, 12) g", "insert into bag values (1, 'twin', 1, null), (1, 'twin', 1, null)"])
    steps(world, relay, ["bag"],
          ["update bag set t = 'changed' where ctid = (select min(ctid) from bag where t = 'twin')"],
          ["delete from bag where ctid = (select min(ctid) from bag where n = 0)"],
          ["insert into bag values (9, null, null, null), (9, null, null, null)"],
          ["delete from bag where ctid = (select max(ctid) from bag where n = 9)"],
          ["update bag set f = null where n = 2"])
    assert world.target.one("select count(*) from bag where t = 'twin'") == 1


def test_source_refuses_updates_without_identity(world):
    """Postgres refuses these itself once the table is published: nothing can be lost."""
    relay = stream_of(world, ["public.events"], "create table public.events (what text)")
    world.source.execute("insert into events values ('x')")
    with pytest.raises(Exception, match="replica identity"):
        world.source.execute("update events set what = 'y'")
    relay.catch_up()
    world.assert_same("events")


@pytest.mark.parametrize("sql_type,values", [
    ("text", ["''", "' '", "'a'", "'A'", "'ä'", "repeat('k', 2000)"]),
    ("uuid", ["gen_random_uuid()"] * 3), ("timestamptz", ["'2026-01-01 00:00:00.000001Z'", "'infinity'"]),
    ("numeric", ["1.0", "1.10", "-0.5"]), ("bytea", ["'\\x00'", "'\\x'"]), ("int8[]", ["'{1,2}'", "'{}'"]),
    ("date", ["'2026-02-28'"]), ("bool", ["true", "false"]), ("char(5)", ["'ab'", "''"]), ("float8", ["0.1", "'NaN'"]),
])
def test_keys_of_many_types(world, sql_type, values):
    relay = stream_of(world, ["public.k"], f"create table public.k (id {sql_type} primary key, v int)")
    steps(world, relay, ["k"], [f"insert into k values ({v}, 1)" for v in values], ["update k set v = 2"])
    steps(world, relay, ["k"], ["update k set v = v + 1"], ["delete from k where id = (select id from k limit 1)"])
