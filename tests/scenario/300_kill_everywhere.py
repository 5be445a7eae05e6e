"""300 Killed at every step of capture and apply, in every state that matters, and then by a random schedule.

Every kill is a failpoint (relay/base/failpoint.h) that is shown to have fired. The target is watched all the time;
after every third kill all tables must become equal again. MILLRACE_SEED=N repeats a random schedule, which is printed when
it fails; MILLRACE_ROUNDS=N makes it longer."""
import os
import random
import threading
import time

import pytest

from support.kills import ALL, Killer, Oracle, Workload, failpoints

SEED = int(os.environ.get("MILLRACE_SEED") or random.SystemRandom().randrange(1 << 32))
ROUNDS = int(os.environ.get("MILLRACE_ROUNDS") or 0)
LARGE = 1500  # the large transaction has four times as many changes
# Small groups and batches: a large transaction takes many of each step.
CONFIG = {"publish": {"group_rows": 500}, "apply": {"group_rows": 500}}
ONCE = {"capture_claim"}  # a start reaches it once
ROWS = {"capture_receive", "capture_produce"}
BATCHES = {"apply_stage", "apply_upsert", "apply_write"}


def counts(point, state):
    """The time at which a step is deadly: the first, some in a stream, or the middle of a large transaction."""
    if point in ONCE or state == "first":
        return 1
    if state == "small":
        return 40 if point in ROWS else 5
    return 2 * LARGE if point in ROWS else 6 if point in BATCHES else 2


def points(kafka):
    """set-up has a test of its own, and so have copies (400); with Kafka there is no embedded log."""
    return [p for p in failpoints() if p != "setup_slot" and not p.startswith("backfill_")
            and not (kafka and p.startswith("log_"))]


def pipeline(world, kafka, seed, env=None):
    workload = Workload(world.source, seed)
    workload.prepare(world.target)
    relay = world.relay(ALL, kafka=kafka, config=CONFIG)
    assert relay.setup().returncode == 0
    oracle = Oracle(world.source, world.target, None if kafka else relay.slot).start()
    return Killer(world, relay, workload, env), oracle


def test_this_is_a_test_build():
    """A release build has no failpoints; a name that is none is refused, instead of never firing."""
    assert len(failpoints()) > 15, "build with -DMILLRACE_MUTATIONS=ON (preset dev)"


def test_a_misspelt_failpoint_is_refused(world):
    relay = world.relay(ALL)
    done = relay.command("run", env={"MILLRACE_FAIL": "aply_commit"})
    assert done.returncode == 2 and "aply_commit" in done.stderr, done.stderr


@pytest.mark.fault(1)
@pytest.mark.parametrize("kafka", [False, True], ids=["embedded", "kafka"])
def test_killed_during_set_up(world, kafka):
    """The slot is made, the origin is not published: the next start takes it from there."""
    workload = Workload(world.source, 1)
    workload.prepare(world.target)
    relay = world.relay(ALL, kafka=kafka, config=CONFIG)
    done = relay.command("setup", env={"MILLRACE_FAIL": "setup_slot"})
    assert done.returncode == -9 and "failpoint setup_slot@1 fires" in done.stderr
    workload.small()
    relay.start()
    workload.write_mark()
    world.wait_same(*ALL)


@pytest.mark.fault(1)
@pytest.mark.parametrize("kafka, state", [(False, "first"), (False, "small"), (False, "large"), (True, "small"),
                                          (True, "large")], ids=lambda v: {True: "kafka", False: "embedded"}.get(v, v))
def test_killed_at_each_step(world, kafka, state, recovery):
    """Kafka's side is capture's; the steps of apply are the same with either log."""
    killer, oracle = pipeline(world, kafka, 300)
    steps = [point for point in points(kafka) if not (kafka and point.startswith("apply_"))]
    for number, point in enumerate(steps, 1):
        if state == "large":
            killer.workload.large(LARGE)  # the first thing that the next start receives
        if state == "first":
            killer.workload.small()
        killer.strike(point, counts(point, state), lambda: trickle(killer.workload))
        if kafka:
            killer.check_slot_against_log()
        if number % 3 and number < len(steps):
            continue  # the next one is killed while it recovers
        with recovery():
            killer.recover()
        oracle.check()
    recovery.tries = killer.kills
    oracle.stop().check()
    assert killer.kills == len(steps) and oracle.states > len(steps) / 3, f"only {oracle.states} states were seen"


def trickle(workload):
    workload.small()
    time.sleep(0.01)


def schedule(kafka, rounds, seed):
    """By the seed alone: at which step, and at which time of it, each start ends."""
    dice = random.Random(seed)
    most = {**{p: 1 for p in ONCE}, **{p: 3000 for p in ROWS}}
    chosen = [dice.choice(points(kafka)) for _ in range(rounds)]
    return [(p, dice.randint(1, most.get(p, 25))) for p in chosen]


def run_schedule(world, kafka, rounds, env=None):
    """Kills by the schedule while the workload goes on; no start in between is left in peace."""
    plan = schedule(kafka, ROUNDS or rounds, SEED)
    print(f"MILLRACE_SEED={SEED} repeats this schedule: {plan}")
    killer, oracle = pipeline(world, kafka, SEED, env)
    dice, stop, failed = random.Random(SEED), threading.Event(), []

    def work():
        try:
            while not stop.is_set():
                killer.workload.large(dice.choice([50, 400])) if dice.random() < 0.02 else killer.workload.small()
                time.sleep(0.004)
        except Exception as error:
            failed.append(error)
    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    try:
        for point, count in plan:
            killer.strike(point, count, lambda: time.sleep(0.01))
            assert not failed, failed
            oracle.check()
            if kafka:
                killer.check_slot_against_log()
    finally:
        stop.set()
        worker.join(30)
        oracle.stop()
    killer.recover()
    oracle.check()
    return killer


@pytest.mark.fault(1)
@pytest.mark.parametrize("kafka", [False, True], ids=["embedded", "kafka"])
def test_killed_at_random(world, kafka, recovery):
    recovery.tries = run_schedule(world, kafka, 15 if kafka else 30).kills


@pytest.mark.parametrize("rule", ["no_atomic", "ack_received"])
def test_the_oracle_notices(world, rule):
    """The same rounds with a safety rule switched off must fail, sooner or later: mostly within ten."""
    with pytest.raises(AssertionError) as caught:
        run_schedule(world, False, 150, {"MILLRACE_MUTATE": rule})
    # A transaction in pieces may also run into the relay's own checks first: the position, or the next change of a row.
    words = {"no_atomic": ["torn", "another instance applied", "no such row"], "ack_received": ["the slot forgot"]}
    assert any(word in str(caught.value) for word in words[rule]), caught.value
