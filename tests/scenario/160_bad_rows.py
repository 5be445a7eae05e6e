"""160 A row that the target rejects stops the pipeline with table, key and position, and goes on when the target is mended.

No message, log line or status holds a password or a value that is not a key's."""
import pytest

from support.world import last_line, stream_of

SECRET = "s3cret-value-of-a-row"
CASES = {
    "check": ("", "alter table t add constraint short check (length(v) < 5)", "alter table t drop constraint short", "short"),
    "not null": ("", "alter table t alter n set not null", "alter table t alter n drop not null", "n"),
    "type": ("", "alter table t alter v type int using v::int", "alter table t alter v type text", "v"),
    "too long": ("", "alter table t alter v type varchar(3)", "alter table t alter v type text", "v"),
    "trigger": ("""create function no() returns trigger language plpgsql as $$ begin raise 'no thanks'; end $$""",
                "create trigger no before insert on t for each row execute function no()", "drop trigger no on t", "no thanks"),
    "missing column": ("", "alter table t rename v to hidden", "alter table t rename hidden to v", "v"),
    "missing table": ("", "alter table t rename to hidden", "alter table hidden rename to t", "t"),
}


def start(world):
    relay = stream_of(world, ["public.t"], "create table public.t (id int primary key, v text, n int)")
    relay.start(ready=True)
    world.source.execute("insert into t values (1, '1', 1)")
    world.wait_same("t")
    return relay


@pytest.mark.fault(13)
@pytest.mark.parametrize("case", CASES)
def test_stops_and_goes_on_by_itself(world, case):
    before, damage, mend, word = CASES[case]
    relay = start(world)
    if before:
        world.target.execute(before)
    world.target.execute(damage)
    world.source.execute("insert into t values (41, %s, null)", (SECRET,))
    world.source.execute("insert into t values (42, '2', 2)")
    status = relay.wait_status(lambda s: s["health"]["state"] == "stopped", 20, "health is stopped")
    said = status["health"]["why"] + str(status["last_error"])
    assert "public.t" in said and word in said, said
    if case in ("check", "not null", "type", "too long", "trigger"):
        assert "41" in said, f"the key is not named: {said}"
    assert relay.get("/readyz")[0] == 503 and relay.get("/healthz")[0] == 200
    assert relay.running()
    world.target.execute(mend)
    world.wait_same("t", timeout_s=20)
    relay.wait_status(lambda s: s["health"]["state"] == "ok", 20, "health is ok again")
    assert relay.get("/readyz")[0] == 200
    assert "apply goes on" in relay.log_text()
    for text in (relay.log_text(), said, relay.get("/metrics")[1], relay.get("/api/v1/status")[1]):
        assert SECRET not in text


def test_until_caught_up_ends_with_1(world):
    relay = start(world)
    relay.terminate()
    world.target.execute("alter table t add constraint short check (length(v) < 5)")
    world.source.execute("insert into t values (41, %s, null)", (SECRET,))
    done = relay.command("run", "--until-caught-up")
    assert done.returncode == 1
    line = last_line(done.stderr)
    assert all(word in line for word in ("public.t", "41", "short")) and "/" in line, line
    assert SECRET not in done.stderr
    world.target.execute("alter table t drop constraint short")
    relay.catch_up()
    world.assert_same("t")


@pytest.mark.fault(13)
def test_one_bad_row_among_many_is_found(world):
    relay = start(world)
    world.target.execute("alter table t add constraint small check (n < 1000)")
    world.source.execute("insert into t select g, 'v', g % 100 from generate_series(100, 5000) g; "
                         "update t set n = 1000 where id = 3777")
    status = relay.wait_status(lambda s: s["health"]["state"] == "stopped", 30, "health is stopped")
    assert "3777" in status["health"]["why"] + str(status["last_error"])
    assert world.target.one("select count(*) from t") == 1, "part of the transaction was kept"
    world.target.execute("alter table t drop constraint small")
    world.wait_same("t")


@pytest.mark.fault(13)
def test_row_of_a_key_that_is_taken_at_the_target(world):
    """A unique index that only the target has: the constraint and the key are named."""
    relay = start(world)
    world.target.execute("create unique index only_here on t (n)")
    world.source.execute("insert into t values (50, 'a', 7), (51, 'b', 7)")
    status = relay.wait_status(lambda s: s["health"]["state"] == "stopped", 20, "health is stopped")
    said = status["health"]["why"] + str(status["last_error"])
    assert "only_here" in said and "51" in said
    world.target.execute("drop index only_here")
    world.wait_same("t")


def test_passwords_are_never_shown(world):
    password = "p4ss-w0rd-of-the-relay"
    world.source.execute(f"create role pw{world.number} superuser login password '{password}'")
    world.target.execute(f"create role pw{world.number} superuser login password '{password}'")
    world.both("create table public.t (id int primary key, v text, n int)")
    relay = world.relay(["public.t"], env={"RELAY_PW": password}, config={
        "source": {"dsn": world.source.dsn(user=f"pw{world.number}", password="${env:RELAY_PW}")},
        "target": {"dsn": world.target.dsn(user=f"pw{world.number}", password=password)}})
    relay.start("all", "-v", ready=True)
    world.source.execute("insert into t values (1, 'x', 1)")
    world.wait_same("t")
    texts = [relay.get("/api/v1/status")[1], relay.get("/metrics")[1]]
    relay.terminate()
    relay.reconfigure(target={"dsn": world.target.dsn(user="nobody_here", password=password)})
    for command in ["check", "setup", "status"]:
        done = relay.command(command, "-v")
        texts += [done.stdout, done.stderr]
    texts.append(relay.log_text())
    assert not any(password in text for text in texts)


def test_hostile_bytes_can_not_forge_a_log_line(world):
    relay = stream_of(world, ["public.t"], "create table public.t (id text primary key, v int)")
    relay.start(ready=True)
    world.target.execute("alter table t add constraint small check (v < 5)")
    world.source.execute("insert into t values (e'k\\nERROR forged \\u001b[31m\\u202e', 9)")
    relay.wait_status(lambda s: s["health"]["state"] == "stopped", 20, "health is stopped")
    log = relay.log_text()
    assert "\nERROR forged" not in log and "\x1b" not in log
