"""The program under test: its config, its process, and the commands beside it."""
import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import yaml

from .children import PATIENCE_S, ROOT, Child, free_port, tail, temp_folder, wait_until


def binary():
    chosen = os.environ.get("MILLRACE_BIN")
    for path in [chosen] if chosen else [ROOT / "build/dev/relay/cli/millrace",
                                         ROOT / "build/release/relay/cli/millrace"]:
        if Path(path).exists():
            return Path(path)
    raise RuntimeError("no millrace binary: set MILLRACE_BIN or run ./test")


def merge(base, extra):
    """Nested dictionaries laid over each other; None removes a key."""
    out = dict(base)
    for key, value in extra.items():
        if value is None:
            out.pop(key, None)
        elif isinstance(value, dict) and isinstance(out.get(key), dict):
            out[key] = merge(out[key], value)
        else:
            out[key] = value
    return out


class Relay:
    """One pipeline. Its log files are kept in `folder`: NAME.log, appended to over restarts."""

    def __init__(self, source, target, tables, *, kafka=None, name="t", folder=None, config=None,
                 env=None):
        """config: further keys, laid over what is made here."""
        self.source, self.target, self.name = source, target, name
        self.folder = Path(folder) if folder else temp_folder(f"millrace_{name}_")
        self.path = self.folder / "millrace.yaml"
        self.slot = f"millrace_{name}"
        self.env = dict(os.environ, **(env or {}))
        self.ports = {"all": free_port(), "capture": free_port(), "apply": free_port()}
        self.children = {}
        log = {"kind": "embedded"}
        if kafka:
            log = {"kind": "kafka", "brokers": kafka.brokers, "replication_factor": 1,
                   "partitions": 3}
        self.config = merge({
            "pipeline": name, "state": str(self.folder / "state"),
            # A predecessor that was killed is waited for; those that show a refusal say otherwise.
            "source": {"dsn": source.dsn(), "slot_wait": f"{PATIENCE_S}s"}, "log": log,
            "target": {"kind": "postgres", "dsn": target.dsn(), "applier_wait": f"{PATIENCE_S}s"},
            # Most scenarios fill both sides by hand; those of history say otherwise. And they are small: with a
            # head start a copy would be over before the stream meets it.
            "backfill": {"on_start": False, "head_start": "0s"},
            "tables": tables, "admin": {"listen": f"127.0.0.1:{self.ports['all']}"},
        }, config or {})
        self.write_config()

    def write_config(self):
        self.path.write_text(yaml.safe_dump(self.config, sort_keys=False, allow_unicode=True,
                                            width=1000))

    def reconfigure(self, **changes):
        self.config = merge(self.config, changes)
        self.write_config()

    def _path_for(self, role):
        """Roles beside each other listen on ports, and keep state in folders, of their own."""
        if role == "all":
            return self.path
        path = self.folder / f"millrace_{role}.yaml"
        path.write_text(yaml.safe_dump(merge(self.config, {
            "state": f"{self.config['state']}_{role}",
            "admin": {"listen": f"127.0.0.1:{self.ports[role]}"}}), sort_keys=False,
            allow_unicode=True, width=1000))
        return path

    # The process.

    def log_path(self, role="all"):
        return self.folder / f"{role}.log"

    def log_text(self, role="all"):
        path = self.log_path(role)
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self, role="all", *arguments, env=None, ready=False):
        assert role not in self.children, f"{role} runs already"
        argv = [binary(), "run", "-c", self._path_for(role)]
        if role != "all":
            argv += ["--role", role]
        self.children[role] = Child(argv + list(arguments), log=self.log_path(role),
                                    cwd=self.folder, env=dict(self.env, **(env or {})))
        if ready:
            self.wait_ready(role)
        return self

    def child(self, role="all"):
        return self.children[role]

    def running(self, role="all"):
        return role in self.children and self.children[role].running()

    def kill(self, role="all"):
        self.children.pop(role).kill()

    def terminate(self, role="all", timeout_s=PATIENCE_S):
        """SIGTERM; returns (exit code, seconds it took)."""
        began = time.monotonic()
        child = self.children.pop(role)
        child.signal(signal.SIGTERM)
        try:
            return child.wait(timeout_s), time.monotonic() - began
        except subprocess.TimeoutExpired:
            child.kill()
            raise AssertionError(f"SIGTERM: still there after {timeout_s} s\n" +
                                 tail(self.log_path(role)))

    def wait(self, timeout_s=PATIENCE_S, role="all"):
        """Waits for the process to leave by itself; its exit code."""
        timeout_s = max(timeout_s, PATIENCE_S)
        try:
            code = self.children[role].wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"expected an exit within {timeout_s} s, still running:\n" +
                                 tail(self.log_path(role)))
        del self.children[role]
        return code

    def stop(self):
        for role in list(self.children):
            self.terminate(role)

    def peak_rss_mb(self, role="all"):
        """The kernel's high-water mark of resident memory (VmHWM)."""
        for line in Path(f"/proc/{self.children[role].pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
        return None

    def cpu_seconds(self, role="all"):
        times = psutil.Process(self.children[role].pid).cpu_times()
        return times.user + times.system

    # Commands beside it.

    def command(self, *arguments, timeout_s=PATIENCE_S, env=None, config=True, input=None):
        argv = [binary(), *map(str, arguments)] + (["-c", str(self.path)] if config else [])
        return subprocess.run(argv, capture_output=True, text=True, timeout=max(timeout_s, PATIENCE_S),
                              cwd=self.folder, env=dict(self.env, **(env or {})), input=input,
                              errors="replace")

    def catch_up(self, timeout_s=PATIENCE_S, env=None):
        """`run --until-caught-up`, which must end with 0."""
        done = self.command("run", "--until-caught-up", timeout_s=timeout_s, env=env)
        with open(self.log_path(), "a") as log:
            log.write(done.stderr)
        assert done.returncode == 0, f"run --until-caught-up: {done.returncode}\n{done.stderr}"
        return done

    def setup(self):
        done = self.command("setup")
        assert done.returncode == 0, f"setup: {done.returncode}\n{done.stderr}"
        return done

    def get(self, path, role="all"):
        """(HTTP status, body) of the admin port."""
        port = self.ports[role]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def status(self, role="all"):
        """The status as the admin port tells it; None while it does not answer."""
        try:
            code, body = self.get("/api/v1/status", role)
        except OSError:
            return None
        return json.loads(body) if code == 200 else None

    def wait_status(self, condition, timeout_s=PATIENCE_S, what="the status", role="all"):
        def met():
            assert role not in self.children or self.running(role), f"{role} left"
            status = self.status(role)
            return status if status and condition(status) else None
        try:
            return wait_until(met, timeout_s, what, 0.1)
        except AssertionError as error:
            raise AssertionError(f"{error}\nlast status: {self.status(role)}\n"
                                 f"{tail(self.log_path(role))}")

    def wait_ready(self, role="all", timeout_s=PATIENCE_S):
        def ready():
            if not self.running(role):
                raise AssertionError(f"{role} left:\n{tail(self.log_path(role))}")
            try:
                if self.get("/readyz", role)[0] != 200:
                    return False
            except OSError:
                return False
            return role == "apply" or (self.source.slot(self.slot) or {}).get("active")
        try:
            wait_until(ready, timeout_s, "/readyz says 200 and the slot is taken")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{tail(self.log_path(role))}")
