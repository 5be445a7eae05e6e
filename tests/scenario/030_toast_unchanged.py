"""030 TOAST: a large value that an update leaves alone is not in the WAL, and must stay what it is.

Never NULL, never a placeholder, under every replica identity, in key changes, arrays and collapsed groups."""
import pytest

from support.world import stream_of

BIG = "(select string_agg(md5(g::text), '') from generate_series(1, 3000) g)"
DDL = "create table public.docs (id int not null, tag int not null, small text, big text, other text{})"


def fill(world, rows=6):
    world.source.execute(f"insert into docs select i, i * 10, 's' || i, i || {BIG}, {BIG} || i "
                         f"from generate_series(1, {rows}) i")


@pytest.mark.parametrize("identity", ["default", "full", "index"])
def test_unchanged_values_stay(world, identity):
    world.both(DDL.format(", primary key (id)" if identity != "index" else ""))
    if identity == "full":
        world.source.execute("alter table docs replica identity full")
    if identity == "index":
        world.both("create unique index docs_tag on docs (tag)")
        world.source.execute("alter table docs replica identity using index docs_tag")
    relay = stream_of(world, ["public.docs"])
    fill(world)
    relay.catch_up()
    world.source.execute("update docs set small = 'changed' where id <= 2")  # both large ones unchanged
    world.source.execute("update docs set big = 'short now', small = null where id = 3")  # one of them
    world.source.execute("update docs set big = null where id = 4")
    world.source.execute("update docs set other = '' where id = 5")
    relay.catch_up()
    world.assert_same("docs")
    assert world.target.one("select min(length(big)) from docs where id <= 2") > 90_000


@pytest.mark.parametrize("identity", ["default", "full", "index"])
def test_key_change_keeps_the_large_value(world, identity):
    world.both(DDL.format(", primary key (id)" if identity != "index" else ""))
    if identity == "full":
        world.source.execute("alter table docs replica identity full")
    if identity == "index":
        world.both("create unique index docs_tag on docs (tag)")
        world.source.execute("alter table docs replica identity using index docs_tag")
    relay = stream_of(world, ["public.docs"])
    fill(world)
    relay.catch_up()
    world.source.execute("update docs set id = id + 100, tag = tag + 1000 where id <= 3")
    relay.catch_up()
    world.assert_same("docs")
    # Key change, other change and key change again, in one transaction and without catching up between.
    world.source.execute("""update docs set id = 500, tag = 5000 where id = 101;
                            update docs set small = 'moved' where id = 500;
                            update docs set id = 501, tag = 5001 where id = 500;
                            update docs set other = 'x' where id = 501""")
    relay.catch_up()
    world.assert_same("docs")


def test_collapsed_with_an_insert_of_the_same_group(world):
    """The whole row and partial updates of it in one commit group, in one and in several transactions."""
    relay = stream_of(world, ["public.docs"], DDL.format(", primary key (id)"))
    with world.source.transaction() as cursor:
        cursor.execute(f"insert into docs values (1, 1, 'a', {BIG}, {BIG})")
        cursor.execute("update docs set small = 'b' where id = 1")
        cursor.execute("update docs set big = 'now small' where id = 1")
        cursor.execute("update docs set small = 'c' where id = 1")
        cursor.execute("update docs set id = 2 where id = 1")
        cursor.execute("update docs set small = 'd' where id = 2")
    fill(world, 1)
    for i in range(20):
        world.source.execute("update docs set small = %s where id = 1", (str(i),))
        world.source.execute("update docs set tag = %s where id = 2", (i,))
    relay.catch_up()
    world.assert_same("docs")


def test_delete_and_insert_of_a_toasted_row(world):
    relay = stream_of(world, ["public.docs"], DDL.format(", primary key (id)"))
    fill(world)
    relay.catch_up()
    with world.source.transaction() as cursor:
        cursor.execute("delete from docs where id = 1")
        cursor.execute(f"insert into docs values (1, 2, 'again', null, {BIG})")
        cursor.execute("update docs set small = 'and again' where id = 1")
        cursor.execute("update docs set small = 'gone' where id = 2")
        cursor.execute("delete from docs where id = 2")
        cursor.execute("update docs set small = 'partial' where id = 3")
        cursor.execute("update docs set id = 2 where id = 3")
    relay.catch_up()
    world.assert_same("docs")


@pytest.mark.parametrize("sql_type", ["text[]", "int8[]", "bytea[]", "numeric[]", "timestamptz[]", "uuid[]",
                                      "jsonb[]", "jsonb", "bytea", "numeric", "tsvector", "int4multirange"])
def test_large_arrays_and_other_types(world, sql_type):
    make = {
        "text[]": "select array_agg(md5(g::text)) from generate_series(1, 2000) g",
        "int8[]": "select array_agg(g * 7919::int8) from generate_series(1, 5000) g",
        "bytea[]": "select array_agg(decode(md5(g::text), 'hex')) from generate_series(1, 2000) g",
        "numeric[]": "select array_agg(sqrt(g::numeric)) from generate_series(1, 2000) g",
        "timestamptz[]": "select array_agg('2026-01-01'::timestamptz + g * interval '1 s 1 us') "
                         "from generate_series(1, 3000) g",
        "uuid[]": "select array_agg(md5(g::text)::uuid) from generate_series(1, 2000) g",
        "jsonb[]": "select array_agg(jsonb_build_object('k', md5(g::text))) from generate_series(1, 2000) g",
        "jsonb": "select jsonb_agg(md5(g::text)) from generate_series(1, 2000) g",
        "bytea": "select decode(string_agg(md5(g::text), ''), 'hex') from generate_series(1, 2000) g",
        "numeric": "select repeat('1234567890', 3000)::numeric",
        "tsvector": "select string_agg(md5(g::text), ' ')::tsvector from generate_series(1, 2000) g",
        "int4multirange": "select range_agg(int4range(g * 10, g * 10 + 5)) from generate_series(1, 2000) g",
    }[sql_type]
    if "multirange" in sql_type and min(int(s.one("show server_version_num")) for s in (world.source, world.target)) < 140000:
        pytest.skip("Postgres 13 has no multiranges")
    relay = stream_of(world, ["public.a"],
                      f"create table public.a (id int primary key, v {sql_type}, n int)")
    # Stored out of line without compression: really left out of the WAL by an update.
    world.source.execute("alter table a alter v set storage external")
    world.source.execute(f"insert into a values (1, ({make}), 0), (2, null, 0)")
    relay.catch_up()
    world.source.execute("update a set n = n + 1")
    relay.catch_up()
    world.source.execute("update a set id = 3, n = 7 where id = 1")
    relay.catch_up()
    world.assert_same("a")
    assert world.target.one("select v is not null from a where id = 3")


def test_through_kafka(world):
    relay = stream_of(world, ["public.docs"], DDL.format(", primary key (id)"), kafka=True)
    fill(world)
    world.source.execute("update docs set small = 'changed', tag = tag + 1")
    world.source.execute("update docs set id = id + 10 where id < 3")
    relay.catch_up()
    world.assert_same("docs")


def test_update_of_a_row_the_target_does_not_have(world):
    """A partial update needs the row: without it the relay stops and says so, it invents nothing."""
    relay = stream_of(world, ["public.docs"], DDL.format(", primary key (id)"))
    fill(world)
    relay.catch_up()
    world.target.execute("delete from docs where id = 1")
    world.source.execute("update docs set small = 'partial' where id = 1")
    done = relay.command("run", "--until-caught-up")
    assert done.returncode != 0
    assert "docs" in done.stderr and "1" in done.stderr
    assert world.target.one("select count(*) from docs where id = 1") == 0
