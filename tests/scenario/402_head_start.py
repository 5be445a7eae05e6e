"""402 Head start: the stream of a new pipeline waits in the log while the first copy moves, and not longer."""
from support.children import PATIENCE_S, wait_until
from support.relay import merge

DDL = "create table public.t (id int primary key, v text)"
ROWS = 3000
HELD = "s more at most (backfill.head_start)"


def copying(world, head_start, backfill=None):
    world.both(DDL)
    world.source.execute(f"insert into t select i, 'v' from generate_series(1, {ROWS}) i")
    ours = {"on_start": True, "head_start": head_start, "chunk_time": "50ms"}
    return world.relay(["public.t"], config={"backfill": merge(ours, backfill or {})})


def ids(world):
    return [row[0] for row in world.target.execute("select id from t order by id")]


def change(world):
    world.source.execute("update t set v = 'streamed' where id = 7; delete from t where id = 8; "
                         f"insert into t values ({ROWS + 1}, 'streamed')")


def test_the_stream_waits_while_the_copy_moves(world):
    relay = copying(world, f"{PATIENCE_S}s")
    hold = relay.folder / "hold"
    hold.touch()
    relay.start(env={"MILLRACE_FAIL": f"backfill_write@2:hold:{hold}"}, ready=True)
    wait_until(lambda: "failpoint backfill_write@2 fires" in relay.log_text(), what="the second chunk is to be written")
    relay.wait_status(lambda s: HELD in s["backfill"]["why"], what="the status says who waits")
    change(world)
    hold.unlink()
    wait_until(lambda: ids(world) == [i for i in range(1, ROWS + 2) if i != 8], what="both are there")
    text = relay.log_text()
    assert text.index("copied table=") < text.index("the stream has waited for the first copy")
    assert world.target.execute("select id from t where v = 'streamed' order by 1") == [(7,), (ROWS + 1,)]
    relay.stop()
    relay.catch_up()
    world.assert_same("t")
    assert relay.log_text().count("the stream has waited") == 1, "once: it has applied something by now"


def test_it_does_not_wait_for_a_copy_that_stands_still(world):
    relay = copying(world, f"{PATIENCE_S}s", {"throttle": {"sql": "select 'not now'"}})
    relay.start()
    relay.wait_status(lambda s: s["backfill"]["state"] == "throttled", what="the throttle")
    world.source.execute(f"insert into t values ({ROWS + 1}, 'streamed')")
    wait_until(lambda: ids(world) == [ROWS + 1], what="the stream goes on, the copy does not")
    assert "the stream has waited for the first copy" in relay.log_text()


def test_it_does_not_wait_longer_than_it_may(world):
    relay = copying(world, "100ms")
    hold = relay.folder / "hold"
    hold.touch()
    relay.start(env={"MILLRACE_FAIL": f"backfill_read@1:hold:{hold}"}, ready=True)
    wait_until(lambda: "failpoint backfill_read@1 fires" in relay.log_text(), what="the chunk is read")
    change(world)
    wait_until(lambda: ids(world) == [7, ROWS + 1], what="the stream goes on, the chunk is held")
    hold.unlink()
    relay.wait_status(lambda s: s["backfill"]["state"] == "done", what="the copy ends")
    relay.stop()
    relay.catch_up()
    world.assert_same("t")
