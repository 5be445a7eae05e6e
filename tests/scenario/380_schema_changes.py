"""380 Schema changes in mid-stream: what no longer fits stops before the first such row, with table, column and SQL, and goes on when the target was altered; `add_columns` adds columns by itself."""
import pytest

from support.children import wait_until
from support.load import TABLES, Pgbench, TornStateOracle, init_tpcb, small_tpcb
from support.world import stream_of

DDL = """create type public.mood as enum ('sad', 'ok');
create table public.t (id int primary key, v text, n int not null, m public.mood);
create table public.other (id int primary key, v text)"""
SEED = "insert into t values (1, 'one', 1, 'ok'), (2, 'two', 2, null)"
ADDING = {"target": {"on_schema_change": "add_columns"}}


def streamed(world, **options):
    relay = stream_of(world, ["public.t", "public.other"], DDL, **options)
    relay.start(ready=True)
    world.source.execute(SEED)
    world.wait_same("t", "other")
    return relay


def stopped(relay, *words):
    status = relay.wait_status(lambda s: s["health"]["state"] == "stopped", 40, "health is stopped")
    said = status["health"]["why"]
    for word in words:
        assert word in said, f"{word!r} is not in: {said}"
    return said


def transaction(world, *statements):
    with world.source.transaction() as cursor:
        for statement in statements:
            cursor.execute(statement)


# What the source did, a row that does not fit the target then, what the message says, what the target needs.
CASES = {
    "column added": ("alter table t add column extra int", "insert into t values (10, 'x', 1, null, 5)",
                     ["public.t", "extra", 'ALTER TABLE "public"."t" ADD COLUMN "extra" integer'],
                     "alter table t add column extra int"),
    "column renamed": ("alter table t rename v to w", "update t set w = 'renamed' where id = 1",
                       ["public.t", "no column w", 'RENAME COLUMN "v" TO "w"'], "alter table t rename v to w"),
    "column dropped": ("alter table t drop column n", "insert into t values (10, 'x', 'sad')",
                       ["public.t", "column n", "NOT NULL", 'ALTER COLUMN "n" DROP NOT NULL'],
                       "alter table t alter column n drop not null"),
    "column retyped": ("alter table t alter n type bigint", "insert into t values (10, 'x', 5000000000, null)",
                       ["public.t", "(id)=(10)", "column n", 'ALTER COLUMN "n" TYPE bigint'],
                       "alter table t alter n type bigint"),
    "column retyped to text": ("alter table t alter n type text", "update t set n = 'no number' where id = 2",
                               ["public.t", "(id)=(2)", 'ALTER COLUMN "n" TYPE text'], "alter table t alter n type text"),
    "enum value added": ("alter type mood add value 'great'", "insert into t values (10, 'x', 1, 'great')",
                         ["public.t", "(id)=(10)", "ALTER TYPE public.mood ADD VALUE", "column m"],
                         "alter type mood add value 'great'"),
    "not null dropped": ("alter table t alter n drop not null", "insert into t values (10, 'x', null, null)",
                         ["public.t", "(id)=(10)", 'ALTER COLUMN "n" DROP NOT NULL'],
                         "alter table t alter n drop not null"),
}


@pytest.mark.fault(9)
@pytest.mark.parametrize("case", CASES)
def test_stops_before_the_first_row_that_does_not_fit(world, case, recovery):
    change, misfit, words, mend = CASES[case]
    relay = streamed(world)
    world.source.execute("insert into other values (1, 'before')")
    world.source.execute(change)
    transaction(world, "insert into other values (2, 'with the misfit')", misfit)
    world.source.execute("insert into other values (3, 'after')")
    stopped(relay, *words)
    assert relay.running() and relay.get("/readyz")[0] == 503
    assert world.target.one("select array_agg(id) from other") == [1], "not all before, or part of what does not fit"
    world.target.execute(mend)
    with recovery():
        world.wait_same("t", "other")
    relay.wait_status(lambda s: s["health"]["state"] == "ok", 20, "health is ok again")


@pytest.mark.fault(9)
def test_what_fits_goes_on(world):
    """Nothing of these reaches the stream, or it fits as it is."""
    relay = streamed(world)
    for change in ["alter table t alter v set default 'by default'", "create index on t (n)",
                   "alter table t add constraint c check (n < 1000)", "alter table t alter v set not null",
                   "alter table t alter n type bigint", "alter table t drop column m"]:
        world.source.execute(change)
        world.source.execute("insert into t (id, n) select max(id) + 1, 7 from t; update t set n = n + 1 where id = 1")
    world.wait_same("t", "other")
    assert relay.running() and relay.status()["totals"]["retries"] == 0


@pytest.mark.fault(9)
def test_a_backlog_goes_up_to_the_first_row_that_does_not_fit(world):
    """Started after the change: what was written before it is not held up by what the source looks like now."""
    relay = streamed(world)
    relay.terminate()
    world.source.execute("insert into t values (3, 'before', 3, null)")
    world.source.execute("alter table t rename v to w")
    world.source.execute("insert into t values (4, 'after', 4, null)")
    relay.start()
    stopped(relay, "public.t", "no column w")
    assert world.target.one("select array_agg(id order by id) from t") == [1, 2, 3]
    world.target.execute("alter table t rename v to w")
    world.wait_same("t", "other")


@pytest.mark.fault(9)
def test_table_dropped_and_created_anew_inside_the_publication(world):
    """By hand, and at once put back into the publication: the stream goes on with the new table's shape."""
    relay = streamed(world)
    transaction(world, "truncate t", "drop table t", "create table t (id int primary key, v text, n int, m mood)",
                f"alter publication {relay.slot} add table t", "insert into t values (5, 'anew', 5, 'sad')")
    world.wait_same("t", "other")
    assert relay.running()


@pytest.mark.fault(9)
def test_partition_attached_and_detached_by_root(world):
    """Rows of any partition land in the one target table. ATTACH and DETACH themselves write no row."""
    world.source.execute("create table public.p (id int primary key, v text) partition by range (id);"
                         "create table p_1 partition of p for values from (0) to (100)")
    world.target.execute("create table public.p (id int primary key, v text)")
    relay = world.relay(["public.p"])
    relay.setup()
    relay.start(ready=True)
    world.source.execute("insert into p values (1, 'a'), (99, 'b')")
    world.source.execute("create table p_2 partition of p for values from (100) to (200); insert into p values (100, 'c')")
    world.source.execute("create table p_3 (id int primary key, v text); alter table p attach partition p_3 "
                         "for values from (200) to (300); insert into p values (200, 'd'); insert into p_3 values (201, 'e')")
    world.wait_same("p")
    world.source.execute("update p set id = 101 where id = 1; delete from p_2 where id = 100")
    world.wait_same("p")
    world.source.execute("alter table p detach partition p_3; insert into p_3 values (202, 'no longer of p'); "
                         "insert into p values (102, 'f')")
    wait_until(lambda: world.target.one("select count(*) from p where id = 102") == 1, 30, "the root goes on")
    assert world.target.one("select array_agg(id order by id) from p where id >= 200") == [200, 201]
    world.source.execute("truncate p_3; drop table p_3")
    world.target.execute("delete from p where id >= 200")
    world.wait_same("p")
    assert relay.running()


@pytest.mark.fault(9)
def test_partitions_by_leaf(world):
    """The leaves are named one by one: each lands in a table of its own, a new one is carried when the config names it."""
    ddl = "create table public.{0} (id int primary key, v text)"
    world.source.execute("create table public.p (id int primary key, v text) partition by range (id);"
                         "create table p_1 partition of p for values from (0) to (100);"
                         "create table p_2 partition of p for values from (100) to (200)")
    world.target.execute(";".join(ddl.format(name) for name in ("p_1", "p_2", "p_3")))
    relay = world.relay(["public.p_1", "public.p_2"])
    relay.setup()
    relay.start(ready=True)
    world.source.execute("insert into p values (1, 'a'), (100, 'b'); update p set id = 101 where id = 1")
    world.source.execute("create table p_3 partition of p for values from (200) to (300); insert into p values (2, 'c')")
    world.wait_same("p_1", "p_2")
    relay.terminate()
    relay.reconfigure(tables=["public.p_1", "public.p_2", "public.p_3"])
    relay.start(ready=True)
    world.source.execute("insert into p values (200, 'd'); alter table p detach partition p_1; insert into p_1 values (3, 'e')")
    world.wait_same("p_1", "p_2", "p_3")


# on_schema_change: add_columns.

@pytest.mark.fault(9)
def test_columns_are_added(world, recovery):
    relay = streamed(world, config=ADDING)
    world.source.execute("alter table t add column a numeric(12,2), add column b varchar(7)[]")
    transaction(world, "insert into t values (10, 'x', 1, null, 1.5, '{a}')", "insert into other values (1, 'x')")
    with recovery():
        world.wait_same("t", "other")
    world.source.execute('alter table t add column "Odd ""name" public.mood; '
                         "insert into t values (11, 'y', 1, null, 2, null, 'sad')")
    world.wait_same("t", "other")
    types = "select attname, format_type(atttypid, atttypmod), attnotnull from pg_attribute where attrelid = " \
            "'t'::regclass and attnum > 4 and attname <> '_millrace' order by attnum"
    assert world.target.execute(types) == [("a", "numeric(12,2)", False), ("b", "character varying(7)[]", False),
                                           ('Odd "name', "mood", False)]
    assert relay.running() and "columns were added" in relay.log_text()


@pytest.mark.fault(9)
def test_columns_are_added_after_a_stop_and_by_setup(world):
    relay = streamed(world, config=ADDING)
    relay.terminate()
    world.source.execute("alter table t add column a int; insert into t values (10, 'x', 1, null, 5)")
    done = relay.command("check")
    assert done.returncode == 0, done.stdout
    assert 'ADD COLUMN IF NOT EXISTS "a" integer' in relay.command("setup", "--print-sql").stdout
    relay.start(ready=True)
    world.wait_same("t", "other")


@pytest.mark.fault(9)
def test_values_of_rows_that_were_there_are_not_sent(world):
    """The limit that the docs name: a default fills them at the source, and writes nothing to the WAL."""
    streamed(world, config=ADDING)
    world.source.execute("alter table t add column a int default 7; insert into t values (10, 'x', 1, null)")
    wait_until(lambda: world.target.one("select count(*) from t where id = 10") == 1, 30, "the new row")
    assert world.target.execute("select id, a from t order by id") == [(1, None), (2, None), (10, 7)]
    world.source.execute("update t set v = v where a = 7")  # touched, they come whole
    world.wait_same("t", "other")


# What add_columns leaves to a person.
LEFT = {
    "rename": ("alter table t rename v to w", "update t set w = 'x' where id = 1", ['RENAME COLUMN "v" TO "w"'],
               "alter table t rename v to w", "w"),
    "rename of the last column": ("alter table t rename m to w", "update t set w = 'sad' where id = 1",
                                  ['RENAME COLUMN "m" TO "w"'], "alter table t rename m to w", "w"),
    "unknown type": ("create type here as enum ('a'); alter table t add column w here", "update t set w = 'a' where id = 1",
                     ["create the type public.here"], "create type here as enum ('a')", "w"),
    "retyped": ("alter table t alter n type bigint", "update t set n = 5000000000 where id = 1",
                ['ALTER COLUMN "n" TYPE bigint'], "alter table t alter n type bigint", "n"),
}


@pytest.mark.fault(9)
@pytest.mark.parametrize("case", LEFT)
def test_never_renames_or_retypes(world, case):
    change, row, words, mend, column = LEFT[case]
    relay = streamed(world, config=ADDING)
    columns = "select array_agg(attname::text order by attnum) from pg_attribute where attrelid = 't'::regclass " \
              "and attnum > 0 and not attisdropped"
    before = world.target.one(columns)
    world.source.execute(change)
    world.source.execute(row)
    stopped(relay, "public.t", column, *words)
    assert world.target.one(columns) == before, "the target was altered"
    world.target.execute(mend)
    world.wait_same("t", "other")


@pytest.mark.fault(9)
def test_mapping_is_respected(world):
    """What `map` drops, renames or computes with is not added; what passes by name is."""
    world.source.execute("create table public.t (id int primary key, v text)")
    world.target.execute("create table public.t (id int primary key, v text, renamed int)")
    relay = world.relay([{"from": "public.t", "map": {"secret": None, "old": None, "renamed": "old"}}], config=ADDING)
    world.source.execute("alter table t add column old int")
    relay.setup()
    relay.start(ready=True)
    world.source.execute("alter table t add column secret text, add column plain int;"
                         "insert into t values (1, 'x', 5, 'hush', 6)")
    query = "(select id, v, old as renamed, plain from t) s"
    world.wait_same((query, "t"))
    assert world.target.one("select count(*) from pg_attribute where attrelid = 't'::regclass "
                            "and attname in ('secret', 'old')") == 0


@pytest.mark.fault(9)
def test_not_the_owner(world):
    number = world.number
    world.both(DDL)
    world.target.execute(f"create role plain{number} login; alter table t add _millrace bytea; alter table other add _millrace "
                         f"bytea; create schema millrace authorization plain{number}; "
                         f"grant select, insert, update, delete, truncate on t, other to plain{number}")
    relay = world.relay(["public.t", "public.other"], config={"target": {
        "dsn": world.target.dsn(user=f"plain{number}"), "on_schema_change": "add_columns"}})
    relay.setup()
    relay.start(ready=True)
    world.source.execute(SEED)
    world.source.execute("alter table t add column a int; insert into t values (10, 'x', 1, null, 5)")
    stopped(relay, "public.t", "owner", 'ADD COLUMN IF NOT EXISTS "a" integer')
    world.target.execute("alter table t add column a int")
    world.wait_same("t", "other")
    relay.stop()
    world.target.execute(f"drop owned by plain{number} cascade; drop role plain{number}")


@pytest.mark.fault(9)
def test_a_reader_of_the_target_is_not_kept_waiting(world, recovery):
    """ALTER TABLE waits for a long reader; those that queue behind it wait for seconds, not for as long as it reads."""
    relay = streamed(world, config=ADDING)
    with world.target.transaction() as reader:
        reader.execute("select count(*) from t")
        world.source.execute("alter table t add column a int; insert into t values (10, 'x', 1, null, 5)")
        status = relay.wait_status(lambda s: s["health"]["state"] == "blocked", 40, "blocked by the reader")
        assert "public.t" in status["health"]["why"] and "lock timeout" in status["health"]["why"], status["health"]
        for _ in range(3):
            with world.target.transaction() as another:
                another.execute("set local statement_timeout = '10s'; select count(*) from t")
    with recovery():
        world.wait_same("t", "other")


@pytest.mark.fault(9)
def test_killed_around_the_change(world, recovery):
    """kill -9 anywhere between ALTER TABLE and the rows' commit; TPC-B's sums agree in every snapshot."""
    init_tpcb(world.source, world.target, accounts=1000)
    relay = world.relay(TABLES, config=ADDING)
    relay.setup()
    relay.start(ready=True)
    oracle = TornStateOracle(world.target, pause_s=0.005).start()
    bench = Pgbench(world.source, seconds=7, rate=200, script=small_tpcb(1000))
    for i in range(5):
        world.source.execute(f"alter table pgbench_history add column c{i} int; "
                             f"insert into pgbench_history (tid, bid, aid, delta, c{i}) values (1, 1, 1, 0, {i})")
        if i % 2:
            relay.kill()
            relay.start()
        wait_until(lambda: world.target.one("select count(*) from pg_attribute where attrelid = 'pgbench_history'::regclass "
                                            f"and attname = 'c{i}'") == 1, 40, "the column is there")
    bench.wait()
    with recovery():
        world.wait_same(*TABLES)
    oracle.assert_never_torn(100)
