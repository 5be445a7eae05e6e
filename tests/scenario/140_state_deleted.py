"""140 The state folder is a copy: without the offsets, or without all of it, nothing is lost; it only starts slower."""
import shutil
from pathlib import Path

import pytest

from support.load import TABLES, Pgbench, init_tpcb, small_tpcb
from support.world import stream_of

DDL = "create table public.t (id int primary key, v text); create table public.events (n int)"


def subfolders(relay):
    state = Path(relay.config["state"])
    return [path.name for path in state.iterdir() if path.is_dir()]


@pytest.mark.parametrize("kafka", [False, True], ids=["embedded", "kafka"])
@pytest.mark.parametrize("part", ["offsets", "everything"])
def test_folder_deleted(world, kafka, part):
    relay = stream_of(world, ["public.t", "public.events"], DDL, kafka=kafka)
    for round_ in range(3):
        world.source.execute("insert into t select g, 'x' from generate_series(%s, %s) g",
                             (round_ * 100, round_ * 100 + 99))
        world.source.execute("insert into events select generate_series(1, 100)")
        relay.catch_up()
        world.source.execute("update t set v = 'round %s'; insert into events values (-1)", (round_,))
        state = Path(relay.config["state"])
        if part == "everything":
            shutil.rmtree(state)
        else:
            for name in subfolders(relay):
                if "log" not in name:
                    shutil.rmtree(state / name)
        relay.catch_up()
        world.assert_same("t", "events")


def test_folder_lost_under_load(world):
    """Killed, and the folder gone with it, while traffic goes on: history is keyless, doubles would show."""
    init_tpcb(world.source, world.target, accounts=1000)
    relay = world.relay(TABLES)
    relay.setup()
    relay.start(ready=True)
    bench = Pgbench(world.source, seconds=10, rate=500, script=small_tpcb(1000))
    for _ in range(4):
        world.source.execute("select pg_sleep(1.5)")
        relay.kill()
        shutil.rmtree(relay.config["state"])
        relay.start(ready=True)
    bench.wait()
    world.wait_same(*TABLES)


def test_old_copy_of_the_folder(world):
    """A restored backup of the state folder knows less than the target does: it goes on from the target."""
    relay = stream_of(world, ["public.t", "public.events"], DDL)
    world.source.execute("insert into t values (1, 'x')")
    relay.catch_up()
    shutil.copytree(relay.config["state"], relay.folder / "backup")
    world.source.execute("insert into t values (2, 'y'); insert into events values (1)")
    relay.catch_up()
    shutil.rmtree(relay.config["state"])
    shutil.move(relay.folder / "backup", relay.config["state"])
    world.source.execute("insert into t values (3, 'z'); insert into events values (2)")
    relay.catch_up()
    world.assert_same("t", "events")
