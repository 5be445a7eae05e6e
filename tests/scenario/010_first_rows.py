"""010 First rows, end to end: inserts, updates and deletes leave the source and arrive in the target."""
import pytest

from support.world import stream_of

DDL = "create table public.customers (id int primary key, name text, city text)"


def test_rows_arrive_and_change_and_go(world):
    relay = stream_of(world, ["public.customers"], DDL)
    world.source.execute("insert into customers values (1, 'Ada', 'London'), (2, 'Bob', null), (3, '', '')")
    relay.catch_up()
    assert world.target.execute("select id, name, city from customers order by 1") == [
        (1, "Ada", "London"), (2, "Bob", None), (3, "", "")]
    world.source.execute("update customers set city = 'Paris' where id = 1")
    world.source.execute("delete from customers where id = 2")
    relay.catch_up()
    assert world.target.execute("select id, name, city from customers order by 1") == [
        (1, "Ada", "Paris"), (3, "", "")]
    world.assert_same("customers")


def test_run_does_what_setup_does(world):
    world.both(DDL)
    relay = world.relay(["public.customers"]).start(ready=True)
    assert world.source.slot(relay.slot)["plugin"] == "pgoutput"
    world.source.execute("insert into customers select g, 'n' || g from generate_series(1, 500) g")
    world.wait_same("customers")
    code, seconds = relay.terminate()
    assert code == 0 and seconds < 5


def test_setup_twice_is_setup_once(world):
    relay = stream_of(world, ["public.customers"], DDL)
    world.source.execute("insert into customers values (1, 'Ada', 'London')")
    relay.setup()
    relay.catch_up()
    relay.setup()
    world.source.execute("insert into customers values (2, 'Bob', 'Rome')")
    relay.catch_up()
    world.assert_same("customers")


def test_stopped_relay_goes_on_where_it_was(world):
    relay = stream_of(world, ["public.customers"], DDL)
    relay.start(ready=True)
    for round_ in range(4):
        world.source.execute("insert into customers select g, 'n' from generate_series(%s, %s) g",
                             (round_ * 100, round_ * 100 + 99))
        if round_ % 2:
            relay.kill()
            world.source.execute("update customers set name = 'round %s'", (round_,))
            relay.start(ready=True)
        else:
            world.source.execute("update customers set city = 'round %s'", (round_,))
    world.wait_same("customers")
    assert world.target.one("select count(*) from customers") == 400


@pytest.mark.parametrize("roles", [["all"], ["capture", "apply"]])
def test_through_kafka(world, roles):
    world.both(DDL)
    relay = world.relay(["public.customers"], kafka=True)
    relay.setup()
    for role in roles:
        relay.start(role)
    world.source.execute("insert into customers select g, 'n' || g from generate_series(1, 1000) g")
    world.source.execute("update customers set name = null where id % 3 = 0")
    world.source.execute("delete from customers where id % 7 = 0")
    world.wait_same("customers")
    for role in roles:
        assert relay.terminate(role)[0] == 0


def test_existing_target_rows_are_taken_over(world):
    """Rows that stood in both stores before the relay came have no version: any change wins."""
    world.both(DDL + "; insert into customers values (1, 'old', null), (2, 'old', null), (3, 'old', null)")
    relay = stream_of(world, ["public.customers"])
    world.source.execute("update customers set name = 'new' where id = 1")
    world.source.execute("delete from customers where id = 2")
    relay.catch_up()
    world.assert_same("customers")


def test_teardown_leaves_nothing(world):
    relay = stream_of(world, ["public.customers"], DDL)
    world.source.execute("insert into customers values (1, 'Ada', 'London')")
    relay.catch_up()
    done = relay.command("teardown", "--yes")
    assert done.returncode == 0, done.stderr
    assert world.source.slot(relay.slot) is None
    assert world.source.one("select count(*) from pg_publication") == 0
    assert world.target.one("select count(*) from pg_namespace where nspname = 'millrace'") == 0
    assert world.target.one("select count(*) from pg_attribute where attname = '_millrace' "
                            "and not attisdropped") == 0
    world.assert_same("customers")
