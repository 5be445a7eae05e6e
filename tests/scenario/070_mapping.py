"""070 Mapping: rename, drop, derive, filter by SQL; other column order, extra columns, identity and generated ones."""
from support.world import stream_of


def mapped(world, entry, source_ddl, target_ddl=""):
    world.source.execute(source_ddl)
    if target_ddl:
        world.target.execute(target_ddl)
    return stream_of(world, [entry])


def test_other_schema_and_name(world):
    relay = mapped(world, {"from": "public.payments", "to": "billing.\"Payments v2\""},
                   "create table payments (id int primary key, amount numeric)",
                   "create schema billing; create table billing.\"Payments v2\" (id int primary key, amount numeric)")
    world.source.execute("insert into payments values (1, 1.50), (2, null); update payments set amount = 2 where id = 1;"
                         "update payments set id = 3 where id = 2; delete from payments where id = 1")
    relay.catch_up()
    world.assert_same(("payments", "billing.\"Payments v2\""))


def test_derive_rename_and_drop(world):
    relay = mapped(
        world,
        {"from": "public.payments", "to": "public.payments_v2",
         "map": {"amount_cents": "round(amount * 100)::bigint", "note": "coalesce(memo, '')",
                 "full_name": "first || ' ' || last", "big": "upper(first) = first", "amount": None,
                 "memo": None, "first": None, "last": None}},
        "create table payments (id int primary key, amount numeric, memo text, first text, last text)",
        "create table payments_v2 (note text not null, full_name text, id int primary key, big bool, "
        "amount_cents bigint)")
    world.source.execute("""insert into payments values (1, 12.345, null, 'ADA', 'L'), (2, -1, 'm', 'Bob', 'M'),
                            (3, null, '', 'C', null)""")
    world.source.execute("update payments set amount = amount + 1, memo = 'new' where id < 3")
    world.source.execute("update payments set id = 9 where id = 3; delete from payments where id = 2")
    relay.catch_up()
    world.assert_same(("""(select coalesce(memo, '') as note, first || ' ' || last as full_name, id,
        upper(first) = first as big, round(amount * 100)::bigint as amount_cents from payments) s""",
                       "payments_v2"))


def test_filter(world):
    """A row that stops passing leaves the target; one that begins to pass enters it."""
    relay = mapped(world, {"from": "public.users", "to": "public.users", "where": "deleted_at is null and age >= 18"},
                   "create table users (id int primary key, age int, deleted_at timestamptz)",
                   "create table users (id int primary key, age int, deleted_at timestamptz)")
    expected = ("(select * from users where deleted_at is null and age >= 18) s", "users")
    world.source.execute("insert into users select g, g % 40, null from generate_series(1, 200) g; "
                         "insert into users values (900, null, null)")
    relay.catch_up()
    world.assert_same(expected)
    world.source.execute("update users set deleted_at = now() where id % 5 = 0")
    world.source.execute("update users set age = 50 where age < 10; update users set age = 1 where age = 30")
    world.source.execute("update users set id = id + 1000 where id % 7 = 0; delete from users where id % 11 = 0")
    relay.catch_up()
    world.assert_same(expected)
    world.source.execute("update users set deleted_at = null")
    relay.catch_up()
    world.assert_same(expected)


def test_other_column_order_and_extra_columns(world):
    relay = mapped(world, {"from": "public.t", "to": "public.t"},
                   "create table t (a int primary key, b text, c date)",
                   """create table t (extra text not null default 'kept', c date, b text, seen timestamptz default now(),
                      a int primary key, n int generated always as (length(b)) stored)""")
    world.source.execute("insert into t values (1, 'one', '2026-01-01'), (2, 'two', null)")
    relay.catch_up()
    world.target.execute("update t set extra = 'by hand' where a = 1")
    world.source.execute("update t set b = 'three' where a = 1")
    relay.catch_up()
    assert world.target.execute("select a, b, c::text, extra, n, seen is not null from t order by a") == [
        (1, "three", "2026-01-01", "by hand", 5, True), (2, "two", None, "kept", 3, True)]


def test_identity_and_generated_columns(world):
    relay = mapped(world, {"from": "public.t", "to": "public.t"},
                   """create table t (id bigint generated always as identity primary key, v int,
                      twice int generated always as (v * 2) stored, s serial)""",
                   """create table t (id bigint generated always as identity primary key, v int,
                      twice int generated always as (v * 2) stored, s serial)""")
    world.source.execute("insert into t (v) select g from generate_series(1, 50) g")
    world.source.execute("update t set v = -v where id % 2 = 0; delete from t where id % 5 = 0")
    relay.catch_up()
    world.assert_same("t")


def test_generated_at_the_source_plain_at_the_target(world):
    """pgoutput leaves generated columns out; the mapping can derive them again."""
    relay = mapped(world, {"from": "public.t", "to": "public.t", "map": {"twice": "v * 2"}},
                   "create table t (id int primary key, v int, twice int generated always as (v * 2) stored)",
                   "create table t (id int primary key, v int, twice int)")
    world.source.execute("insert into t (id, v) values (1, 5), (2, null); update t set v = 6 where id = 1")
    relay.catch_up()
    world.assert_same("t")


def test_create_makes_the_target_table(world):
    relay = mapped(
        world, {"from": "public.\"Orders\"", "to": "shop.orders", "create": True,
                "map": {"cents": "round(total * 100)::bigint", "total": None}},
        """create table "Orders" (id uuid primary key, "Customer Id" int not null, total numeric(10,2), tags text[],
           at timestamptz(3) default now(), note varchar(7))""")
    world.source.execute("""insert into "Orders" select md5(g::text)::uuid, g, g * 1.25, array['a', g::text]
                            from generate_series(1, 20) g; update "Orders" set note = 'seven' where total > 10""")
    relay.catch_up()
    world.assert_same(("""(select id, "Customer Id", tags, at, note, round(total * 100)::bigint as cents
                           from "Orders") s""", "shop.orders"))
    assert world.target.execute("""select format_type(atttypid, atttypmod) from pg_attribute
        where attrelid = 'shop.orders'::regclass and attname in ('id', 'at', 'note', 'cents') order by attname""") == [
        ("timestamp(3) with time zone",), ("bigint",), ("uuid",), ("character varying(7)",)]


def test_changed_type(world):
    relay = mapped(world, {"from": "public.t", "to": "public.t", "map": {"status": "status::text", "n": "n::bigint"}},
                   "create type st as enum ('new', 'done'); create table t (id int primary key, status st, n int)",
                   "create table t (id int primary key, status text, n bigint)")
    world.source.execute("insert into t values (1, 'new', 1); update t set status = 'done'")
    relay.catch_up()
    assert world.target.execute("select id, status, n from t") == [(1, "done", 1)]


def test_expression_is_evaluated_over_the_sources_columns(world):
    """Names of the source's columns, also where the target has others of the same name; and quoted ones."""
    relay = mapped(world, {"from": "public.t", "to": "public.t",
                           "map": {"a": "b", "b": "a", "Odd \"Name\"": "\"select\" || '%s{}'", "select": None}},
                   "create table t (id int primary key, a text, b text, \"select\" text)",
                   "create table t (id int primary key, a text, b text, \"Odd \"\"Name\"\"\" text)")
    world.source.execute("insert into t values (1, 'x', 'y', 'z'); update t set a = 'xx'")
    relay.catch_up()
    assert world.target.execute("select a, b, \"Odd \"\"Name\"\"\" from t") == [("y", "xx", "z%s{}")]


def test_partitioned_root_lands_in_one_table(world):
    """New partitions included; rows that move between partitions too."""
    world.source.execute("""create table public.m (id int, region text, v int, primary key (id, region)) partition by list (region);
                            create table m_eu partition of m for values in ('eu')""")
    world.target.execute("create table public.m (id int, region text, v int, primary key (id, region))")
    relay = stream_of(world, ["public.m"])
    world.source.execute("insert into m select g, 'eu', g from generate_series(1, 10) g")
    world.source.execute("""create table m_us partition of m for values in ('us');
                            insert into m select g, 'us', g from generate_series(1, 10) g""")
    world.source.execute("update m set region = 'us', id = id + 100 where id = 3 and region = 'eu'")
    relay.catch_up()
    world.assert_same("m")
