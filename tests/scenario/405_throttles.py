"""405 What holds a copy back: a URL that is asked, and a physical replica that is behind. It goes on when they let it."""
import http.server
import os
import subprocess
import threading

import psycopg2

import pytest

from support.children import free_port, wait_until
from support.postgres import USER, Postgres
from support.relay import merge

DDL = "create table public.t (id int primary key, v text)"
ON = {"backfill": {"on_start": True, "chunk_time": "50ms"}}


class Asked:
    """A server on loopback that answers what it is told to, or nothing for as long as `answer` is None."""

    def __init__(self):
        self.answer, self.asked, self.ended = (429, "the shop is busy\n"), 0, threading.Event()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked += 1
                while outer.answer is None and not outer.ended.wait(0.05):
                    pass
                code, body = outer.answer or (503, "")
                try:
                    self.send_response(code)
                    self.send_header("Content-Length", str(len(body.encode())))
                    self.end_headers()
                    self.wfile.write(body.encode())
                except OSError:
                    pass  # nobody waits for it any more

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/may-copy?key=s3cret"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    def stop(self):
        self.ended.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def asked():
    server = Asked()
    yield server
    server.stop()


def copying(world, throttle, rows=3000):
    world.both(DDL)
    world.source.execute(f"insert into t select i, 'v' from generate_series(1, {rows}) i")
    return world.relay(["public.t"], config=merge(ON, {"backfill": {"throttle": throttle}}))


def wait_why(relay, why):
    status = relay.wait_status(lambda s: s["backfill"]["state"] == "throttled" and why in s["backfill"]["why"], 40,
                               f"held back: {why}")
    return status["backfill"]["why"]


def test_a_url_says_no_and_then_yes(world, asked):
    relay = copying(world, {"url": asked.url})
    relay.start(ready=True)
    assert wait_why(relay, "says 429") == "backfill.throttle.url says 429: the shop is busy"
    asked.answer = (200, '{"hold": true, "why": "night shift"}')
    wait_why(relay, "says to hold: night shift")
    asked.answer = (302, "")
    wait_why(relay, "says 302")
    asked.answer = None
    wait_why(relay, "does not answer (Read)")
    world.source.execute("insert into t values (5000, 'streamed')")
    wait_until(lambda: world.target.execute("select id from t") == [(5000,)], 30, "the stream goes on, the copy does not")
    code, seconds = relay.terminate()
    assert code == 0 and seconds < 5, f"a silent server held up the stop: {code} after {seconds:.1f} s"
    relay.start(ready=True)
    wait_why(relay, "backfill.throttle.url")
    assert world.target.one("select count(*) from t") == 1
    asked.answer = (204, "")
    relay.wait_status(lambda s: s["backfill"]["state"] == "done", 60, "the copy ends")
    relay.stop()
    relay.catch_up()
    world.assert_same("t")
    assert asked.asked > 3 and "s3cret" not in relay.log_text()
    count = asked.asked
    relay.catch_up()  # nothing is to be copied: nobody is asked
    assert asked.asked == count


def test_a_url_that_nobody_serves(world):
    relay = copying(world, {"url": f"http://127.0.0.1:{free_port()}/"})
    relay.start(ready=True)
    wait_why(relay, "does not answer (Connection)")
    assert world.target.one("select count(*) from t") == 0
    relay.stop()
    relay.reconfigure(backfill={"throttle": {"url": "https://127.0.0.1/"}})
    refused = relay.command("run")
    assert refused.returncode == 2 and "has no TLS" in refused.stderr, refused.stderr


class Standby(Postgres):
    """A physical replica of `primary`, by pg_basebackup."""

    def __init__(self, primary, **settings):
        self.primary = primary
        super().__init__("standby", binaries=primary.bin, **settings)

    def _make_cluster(self):
        subprocess.run([self.primary.bin / "pg_basebackup", "-D", self.data, "-d", self.primary.dsn(), "-X", "stream",
                        "-c", "fast", "-R"], check=True, capture_output=True, timeout=120)
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", f"{USER}:{USER}", self.folder], check=True)
        self.data.chmod(0o700)


def test_a_replica_that_is_behind(world):
    """It applies each commit 4 s after it was made, until it is told not to."""
    relay = copying(world, {"replica_lag": "2s"})
    world.source.execute("create table public.other (n int); insert into public.other values (0)")
    standby = Standby(world.source.server, recovery_min_apply_delay="4s", wal_receiver_status_interval="1s")
    ended, failed = threading.Event(), []

    def write():
        connection = world.source.connect()
        try:
            while not ended.wait(0.05):
                connection.cursor().execute("update public.other set n = n + 1")
        except psycopg2.Error as error:
            failed.append(error)
        finally:
            connection.close()
    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    try:
        wait_until(lambda: world.source.one("select max(replay_lag) > interval '3 s' from pg_stat_replication"), 60,
                   "the replica is behind", 0.2)
        relay.start(ready=True)
        wait_why(relay, "a replica of the source is")
        assert world.target.one("select count(*) from t") == 0
        standby.execute("alter system set recovery_min_apply_delay = 0")
        standby.execute("select pg_reload_conf()")
        relay.wait_status(lambda s: s["backfill"]["state"] == "done", 60, "the copy ends")
        assert not failed, failed
    finally:
        ended.set()
        writer.join(30)
        standby.stop("immediate")
    relay.stop()
    relay.catch_up()
    world.assert_same("t")
