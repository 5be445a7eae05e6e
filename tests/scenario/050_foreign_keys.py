"""050 Foreign keys on the target: parents and children of one transaction, in either order of tables."""
import pytest

from support.world import stream_of

DDL = """
create table public.a_child (id int primary key, parent int{}, v text);
create table public.b_parent (id int primary key, v text);
create table public.c_grandchild (id int primary key, child int not null);
alter table a_child add foreign key (parent) references b_parent;
alter table c_grandchild add foreign key (child) references a_child;
"""
TABLES = ["public.a_child", "public.b_parent", "public.c_grandchild"]


@pytest.mark.parametrize("kafka", [False, True], ids=["embedded", "kafka"])
def test_parents_and_children_of_one_transaction(world, kafka):
    relay = stream_of(world, TABLES, DDL.format(" not null"), kafka=kafka)
    world.source.execute("""insert into b_parent select g, 'p' from generate_series(1, 100) g;
                            insert into a_child select g, g, 'c' from generate_series(1, 100) g;
                            insert into c_grandchild select g, g from generate_series(1, 100) g""")
    world.source.execute("""delete from c_grandchild where child <= 20; delete from a_child where id <= 20;
                            delete from b_parent where id <= 20""")
    world.source.execute("""insert into b_parent values (500, 'new'); update a_child set parent = 500 where id < 50;
                            delete from b_parent where id between 21 and 49""")
    relay.catch_up()
    world.assert_same(*TABLES)


def test_one_transaction_adds_here_and_removes_there(world):
    """No single order of tables fits: deletes go child first, inserts parent first, all in one transaction."""
    relay = stream_of(world, TABLES, DDL.format(""))
    world.source.execute("insert into b_parent values (1, 'p'); insert into a_child values (1, 1, 'c')")
    relay.catch_up()
    with world.source.transaction() as cursor:
        cursor.execute("insert into b_parent values (2, 'p')")
        cursor.execute("update a_child set parent = 2")
        cursor.execute("delete from b_parent where id = 1")
        cursor.execute("insert into a_child values (2, 2, 'd')")
        cursor.execute("insert into c_grandchild values (1, 2)")
        cursor.execute("update c_grandchild set child = 1")
        cursor.execute("delete from a_child where id = 2")
    relay.catch_up()
    world.assert_same(*TABLES)


def test_key_change_of_a_referenced_parent(world):
    world.both("""create table public.p (id int primary key);
                  create table public.c (id int primary key,
                                         p int references p on update cascade on delete cascade)""")
    relay = stream_of(world, ["public.p", "public.c"])
    world.source.execute("insert into p values (1), (2); insert into c values (1, 1), (2, 2), (3, 1)")
    relay.catch_up()
    world.source.execute("update p set id = 10 where id = 1")
    relay.catch_up()
    world.assert_same("p", "c")
    world.source.execute("delete from p where id = 10")
    relay.catch_up()
    world.assert_same("p", "c")


def test_cycle_of_tables_and_self_reference(world):
    world.both("""create table public.m (id int primary key, boss int references m);
                  create table public.x (id int primary key, y int);
                  create table public.y (id int primary key, x int references x);
                  alter table x add foreign key (y) references y""")
    relay = stream_of(world, ["public.m", "public.x", "public.y"])
    world.source.execute("""insert into m values (1, null), (2, 1), (3, 2), (4, 3);
                            insert into x values (1, null); insert into y values (1, 1); update x set y = 1""")
    world.source.execute("update m set boss = 1 where id = 4; delete from m where id in (2, 3)")
    world.source.execute("update x set y = null; delete from y; delete from x")
    relay.catch_up()
    world.assert_same("m", "x", "y")


def test_deferred_foreign_keys(world):
    world.both("""create table public.p (id int primary key);
                  create table public.c (id int primary key,
                                         p int references p deferrable initially deferred)""")
    relay = stream_of(world, ["public.c", "public.p"])
    world.source.execute("insert into c values (1, 1), (2, 1); insert into p values (1)")
    world.source.execute("delete from p; update c set p = null")
    relay.catch_up()
    world.assert_same("p", "c")


def test_child_of_a_table_outside_the_pipeline(world):
    """The parent is no business of ours; where its row is missing the relay stops and names the constraint."""
    world.both("create table public.p (id int primary key); create table public.c (id int primary key, p int)")
    world.target.execute("alter table c add constraint c_needs_p foreign key (p) references p")
    relay = stream_of(world, ["public.c"])
    world.source.execute("insert into c values (1, 7)")
    done = relay.command("run", "--until-caught-up")
    assert done.returncode == 1
    assert "c_needs_p" in done.stderr and "public.c" in done.stderr
    world.target.execute("insert into p values (7)")
    relay.catch_up()
    world.assert_same("c")


SHOP = """
create table public.customers (id int primary key, name text);
create table public.orders (id int primary key, customer int not null references customers);
create table public.items (id int, line int, note text, primary key (id, line), foreign key (id) references orders);
"""
SHOP_TABLES = ["public.items", "public.orders", "public.customers"]  # children first, as it happens


def filled_shop(world):
    """A shop with rows, and live changes that name parents which only the copies bring."""
    world.both(SHOP)
    world.source.execute("""insert into customers select g, 'c' || g from generate_series(1, 2000) g;
        insert into orders select g, 1 + g % 2000 from generate_series(1, 4000) g;
        insert into items select g, l, 'n' from generate_series(1, 4000) g, generate_series(1, 3) l""")
    relay = world.relay(SHOP_TABLES, config={"backfill": {"on_start": True, "chunk_time": "20ms"}})
    relay.setup()
    world.source.execute("""insert into orders select g, g - 4000 from generate_series(4001, 4500) g;
        insert into items select g, 1, 'live' from generate_series(3900, 4500) g on conflict (id, line) do update set note = 'live'""")
    return relay


def test_rows_that_are_there_already(world):
    """Parents are copied first, and copies go on while the stream waits for a parent that they bring."""
    relay = filled_shop(world)
    relay.start(ready=True)
    relay.wait_status(lambda s: s["backfill"]["state"] == "done", 90, "the copies end without a hand")
    world.source.execute("insert into orders values (5000, 1500); delete from items where id = 7")
    world.wait_same("customers", "orders", "items", timeout_s=90)
    relay.wait_status(lambda s: s["health"]["state"] in ("ok", "catching_up"), 60, "it is well")
    assert relay.terminate()[0] == 0


def test_rows_that_are_there_already_until_caught_up(world):
    relay = filled_shop(world)
    relay.catch_up()
    world.assert_same("customers", "orders", "items")
