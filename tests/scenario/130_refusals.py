"""130 Refusals: what would lose or overwrite data ends with 4, a blocker with 3, a config mistake with 2; each is named."""
import shutil
import signal

import pytest

from support.children import bytes_in, wait_until
from support.postgres import Postgres
from support.relay import Relay
from support.world import last_line, stream_of

DDL = "create table public.t (id int primary key, v text)"


def refused(done, code, *words):
    said = done.stdout + done.stderr
    assert done.returncode == code, f"exit {done.returncode}, expected {code}\n{said}"
    for word in words:
        assert word.lower() in said.lower(), f"{word!r} is not in:\n{said}"
    if code in (1, 4):
        assert len(last_line(done.stderr)) > 40, f"the last line does not explain: {last_line(done.stderr)!r}"


def run(relay, **options):
    return relay.command("run", "--until-caught-up", **options)


def streamed(world, **options):
    relay = stream_of(world, ["public.t"], DDL, **options)
    world.source.execute("insert into t values (1, 'a')")
    relay.catch_up()
    return relay


def drop_slot(world, relay):
    world.source.wait_slot_free(relay.slot)
    world.source.execute("select pg_drop_replication_slot(%s)", (relay.slot,))


# 4: going on would lose or overwrite.

@pytest.mark.fault(8)
def test_slot_dropped(world):
    relay = streamed(world)
    drop_slot(world, relay)
    world.source.execute("insert into t values (2, 'lost')")
    refused(run(relay), 4, relay.slot, "teardown")
    assert world.source.slot(relay.slot) is None, "a new slot was made over a gap"
    refused(relay.command("setup"), 4, relay.slot)
    refused(relay.command("check"), 3, f"blocker: source: slot {relay.slot} does not exist, but the target has applied",
            "millrace teardown")


def test_slot_dropped_before_anything_was_applied(world):
    relay = stream_of(world, ["public.t"], DDL)
    assert relay.command("check").returncode == 0
    drop_slot(world, relay)
    refused(relay.command("check"), 3, f"slot {relay.slot} does not exist, but the log holds", "millrace teardown")


@pytest.mark.fault(8)
def test_slot_recreated(world):
    relay = streamed(world)
    drop_slot(world, relay)
    world.source.execute("insert into t values (2, 'lost')")
    world.source.execute("select pg_create_logical_replication_slot(%s, 'pgoutput')", (relay.slot,))
    refused(run(relay), 4, relay.slot)
    assert world.target.one("select count(*) from t") == 1


@pytest.mark.fault(8)
@pytest.mark.parametrize("kafka", [False, True], ids=["embedded", "kafka"])
def test_slot_advanced_by_another(world, kafka):
    relay = streamed(world, kafka=kafka)
    world.source.execute("insert into t values (2, 'lost')")
    world.source.wait_slot_free(relay.slot)
    world.source.execute("select pg_replication_slot_advance(%s, pg_current_wal_lsn())", (relay.slot,))
    world.source.execute("insert into t values (3, 'c')")
    refused(run(relay), 4, relay.slot)
    assert world.target.one("select count(*) from t") == 1


@pytest.mark.fault(8)
def test_slot_dropped_while_running(world):
    relay = streamed(world)
    relay.start(ready=True)
    relay.child().signal(signal.SIGSTOP)  # or it may have the slot again at once
    wait_until(lambda: world.source.drop_slot(relay.slot), what="the slot is dropped")
    relay.child().signal(signal.SIGCONT)
    assert relay.wait(30) == 4
    assert relay.slot in last_line(relay.log_text())


@pytest.mark.fault(5)
def test_second_instance_on_the_same_folder(world):
    relay = streamed(world)
    relay.start(ready=True)
    relay.reconfigure(admin={"listen": "127.0.0.1:0"}, source={"slot_wait": "1s"})
    refused(run(relay), 4)
    world.source.execute("insert into t values (2, 'b')")
    world.wait_same("t")
    assert relay.running()


@pytest.mark.fault(5, 8)
def test_second_capture_of_the_slot(world):
    relay = streamed(world, kafka=True)
    relay.start(ready=True)
    other = Relay(world.source, world.target, ["public.t"], name=relay.name, kafka=world.kafka,
                  config={"source": {"slot_wait": "1s"}})
    refused(run(other), 4, relay.slot)
    world.source.execute("insert into t values (2, 'b')")
    world.wait_same("t")


def test_another_source_cluster(world):
    relay = streamed(world)
    stranger = Postgres("stranger")
    stranger.execute(DDL)
    stranger.execute("select pg_create_logical_replication_slot(%s, 'pgoutput')", (relay.slot,))
    relay.reconfigure(source={"dsn": stranger.dsn()})
    refused(run(relay), 4, "system identifier")
    stranger.stop("immediate")


def test_folder_of_another_pipeline(world):
    relay = streamed(world)
    other = world.relay(["public.t"], config={"state": relay.config["state"]})
    refused(other.command("setup"), 4, relay.name)


@pytest.mark.fault(8)
def test_slot_of_another_plugin(world):
    world.both(DDL)
    relay = world.relay(["public.t"])
    world.source.execute("select pg_create_logical_replication_slot(%s, 'test_decoding')", (relay.slot,))
    refused(relay.command("check"), 3, relay.slot, "test_decoding")
    refused(relay.command("setup"), 4, relay.slot, "test_decoding")


def test_manifest_range_is_gone(world):
    """Kafka forgot what the target has not applied: a gap, and no row over it."""
    relay = stream_of(world, ["public.t"], DDL, kafka=True)
    relay.start("capture", ready=True)
    world.source.execute("insert into t select g, 'x' from generate_series(1, 100) g")
    relay.wait_status(lambda s: s["totals"]["published_rows"] >= 100, 20, "published", role="capture")
    relay.terminate("capture")
    world.kafka.configure_topic(f"{relay.name}.public.t", "retention.ms=100")
    data = world.kafka.folder / "data"
    wait_until(lambda: not bytes_in(data, f"{relay.name}.public.t-*/*.log"), what="the broker forgets")
    relay.start("apply")
    assert relay.wait(30, role="apply") == 4
    assert world.target.one("select count(*) from t") == 0


# 3: the check is negative, and says what mends it.

def test_check_is_content(world):
    world.both(DDL)
    relay = world.relay(["public.t"])
    done = relay.command("check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert world.source.slot(relay.slot) is None and world.source.one("select count(*) from pg_publication") == 0
    assert world.target.one("select count(*) from pg_namespace where nspname = 'millrace'") == 0


def test_check_names_every_blocker_at_once(world):
    world.source.execute("create table public.t (id int primary key, v text); create table public.nokey (v text);"
                         "create table public.onlyhere (id int primary key)")
    world.target.execute("create table public.t (id int, v text); create table public.nokey (v text)")
    relay = world.relay(["public.t", "public.nokey", "public.onlyhere", "public.nowhere"])
    refused(relay.command("check"), 3, "public.nowhere")
    relay.reconfigure(tables=["public.t", "public.nokey", "public.onlyhere"])
    done = relay.command("check")
    refused(done, 3, "public.t", "public.onlyhere", "unique")


def test_missing_column_at_the_target(world):
    world.source.execute("create table public.t (id int primary key, v text, extra int)")
    world.target.execute(DDL)
    refused(world.relay(["public.t"]).command("check"), 3, "public.t", "extra")


def test_wal_level_replica(world):
    plain = Postgres("source", wal_level="replica")
    plain.execute(DDL)
    world.target.execute(DDL)
    relay = world.relay(["public.t"], config={"source": {"dsn": plain.dsn()}})
    refused(relay.command("check"), 3, "wal_level", "logical")
    assert relay.command("setup").returncode != 0
    plain.stop("immediate")


def test_privileges(world):
    world.both(DDL)
    world.source.execute(f"drop role if exists weak_s{world.number}; create role weak_s{world.number} login")
    world.target.execute(f"drop role if exists weak_t{world.number}; create role weak_t{world.number} login")
    relay = world.relay(["public.t"], config={
        "source": {"dsn": world.source.dsn(user=f"weak_s{world.number}")},
        "target": {"dsn": world.target.dsn(user=f"weak_t{world.number}")}})
    refused(relay.command("check"), 3, "replication", "select", "grant")
    world.source.execute(f"drop owned by weak_s{world.number}")


def test_least_privileges_are_enough(world):
    """REPLICATION and SELECT on the source; the tables and one schema on the target."""
    number = world.number
    world.both(DDL)
    world.source.execute(f"create role least_s{number} login replication; grant select on t to least_s{number}; "
                         f"create publication millrace_least{number} for table t with (publish_via_partition_root = true)")
    world.target.execute(f"create role least_t{number} login; alter table t add _millrace bytea; "
                         f"create schema millrace authorization least_t{number}; "
                         f"grant select, insert, update, delete, truncate on t to least_t{number}")
    relay = world.relay(["public.t"], name=f"least{number}", config={
        "source": {"dsn": world.source.dsn(user=f"least_s{number}")},
        "target": {"dsn": world.target.dsn(user=f"least_t{number}")}})
    done = relay.command("check")
    assert done.returncode == 0, done.stdout + done.stderr
    relay.setup()
    world.source.execute("insert into t values (1, 'x'); update t set v = 'y'")
    relay.catch_up()
    world.assert_same("t")


@pytest.mark.parametrize("side", ["source", "target"])
def test_no_connection(world, side):
    world.both(DDL)
    relay = world.relay(["public.t"], config={side: {"dsn": "postgresql://postgres:hunter2@127.0.0.1:1/nowhere"}})
    done = relay.command("check")
    refused(done, 3, side, "127.0.0.1")
    assert "hunter2" not in done.stdout + done.stderr


# 2: the config; nothing is touched.

def test_config_mistakes_all_at_once(world):
    relay = world.relay(["public.t"])
    relay.path.write_text(f"""pipeline: Not-Valid
sorce: {{dsn: x}}
source:
  dsn: {world.source.dsn()}
  max_retained_wall: 20GB
log: {{kind: kafkaa}}
target: {{kind: postgres, dsn: {world.target.dsn()}}}
tables: [public.t]
memory: lots
""")
    for command in ["check", "setup", "run", "status"]:
        refused(relay.command(command), 2, "millrace.yaml:1", "millrace.yaml:2", "source", "max_retained_wal",
                "millrace.yaml:5", "millrace.yaml:6", "kafka", "millrace.yaml:9")
    assert world.source.slot(relay.slot) is None


@pytest.mark.parametrize("arguments", [[], ["frobnicate"], ["run", "--role", "chef"], ["run", "--nope"], ["check", "-c"]])
def test_usage(world, arguments):
    done = world.relay(["public.t"]).command(*arguments, config=False)
    assert done.returncode == 2 and len(done.stderr) > 20


def test_missing_config_file(world):
    done = world.relay(["public.t"]).command("run", "-c", "/nonexistent.yaml", config=False)
    refused(done, 2, "/nonexistent.yaml")


def test_help_of_every_command_has_an_example(world):
    relay = world.relay(["public.t"])
    for command in ["check", "setup", "run", "status", "offsets", "log", "teardown", "version"]:
        done = relay.command(command, "--help", config=False)
        assert done.returncode == 0 and f"millrace {command}" in done.stdout, command


@pytest.mark.fault(8)
def test_teardown_and_setup_again_resolve_a_refusal(world):
    """What the message of a lost slot names does resolve it."""
    relay = streamed(world)
    drop_slot(world, relay)
    refused(run(relay), 4, "teardown")
    done = relay.command("teardown", "--yes")
    assert done.returncode == 0, done.stderr
    world.both("truncate t")
    relay.setup()
    world.source.execute("insert into t values (7, 'anew')")
    relay.catch_up()
    world.assert_same("t")
    shutil.rmtree(relay.config["state"], ignore_errors=True)
