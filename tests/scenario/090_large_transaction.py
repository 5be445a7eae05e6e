"""090 One transaction of 1,000,000 rows passes through in bounded memory, as a whole."""
import threading
import time

import pytest

from support.children import wait_until
from support.world import stream_of

ROWS = 1_000_000
RSS_MB_MAX = 160


@pytest.mark.fault(10)
@pytest.mark.parametrize("kind", ["insert", "mixed"])
def test_a_million_rows(world, kind):
    relay = stream_of(world, ["public.big"],
                      "create table public.big (id int primary key, a int, b text, c timestamptz)")
    relay.start(ready=True)
    with world.source.transaction() as cursor:
        if kind == "insert":
            cursor.execute("insert into big select g, g %% 97, md5(g::text), '2026-01-01' from generate_series(1, %s) g",
                           (ROWS,))
        else:  # as many changes, of fewer rows
            cursor.execute("insert into big select g, 0, md5(g::text), null from generate_series(1, %s) g", (ROWS // 4,))
            for _ in range(2):
                cursor.execute("update big set a = a + 1")
            cursor.execute("update big set b = 'x' || id")
    seen, stop = set(), threading.Event()

    def poll():
        connection = world.target.connect()
        while not stop.is_set():
            with connection.cursor() as cursor:
                cursor.execute("select count(*) from big")
                seen.add(cursor.fetchone()[0])
            time.sleep(0.05)
        connection.close()
    poller = threading.Thread(target=poll, daemon=True)
    poller.start()
    rows = ROWS if kind == "insert" else ROWS // 4
    try:
        wait_until(lambda: world.target.one("select exists (select from big)"), 150, "the transaction arrives", 0.2)
    finally:
        stop.set()
        poller.join(30)
    peak = relay.peak_rss_mb()
    world.assert_same("big")
    assert seen <= {0, rows}, f"part of the transaction was visible: {sorted(seen)}"
    assert peak < RSS_MB_MAX, f"{peak:.0f} MB resident at the peak"
    assert relay.terminate()[0] == 0


@pytest.mark.fault(1, 10)
def test_killed_in_the_middle(world):
    """A kill while the rows stream leaves orphans that nothing names; the next attempt is whole."""
    relay = stream_of(world, ["public.big"], "create table public.big (id int primary key, b text)")
    relay.start(ready=True)
    world.source.execute("insert into big select g, repeat('x', 50) from generate_series(1, 200000) g")
    for _ in range(3):
        time.sleep(0.4)
        relay.kill()
        relay.start()
    wait_until(lambda: world.target.one("select count(*) from big") > 0, 90, "the transaction arrives", 0.2)
    world.assert_same("big")
