"""Temporary folders and child processes that never outlive the test.

Every child leads its own process group and is ended, group and all, when the interpreter leaves,
whether by success, failure, SIGTERM or Ctrl-C.
"""
import atexit
import fcntl
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("MILLRACE_CACHE", Path.home() / ".cache" / "millrace"))

# No wait for something that must come is shorter: a deadline is there for what never comes. How long a
# thing takes is the machine's matter, which may have something else to do.
PATIENCE_S = 300

_children = []
_folders = []
_leases = []


class Child:
    """One process in a group of its own. stop_signal is what ends it kindly."""

    def __init__(self, argv, *, log=None, stop_signal=signal.SIGTERM, user=None, **options):
        if user and os.geteuid() == 0:
            entry = pwd.getpwnam(user)
            options.update(user=entry.pw_uid, group=entry.pw_gid, extra_groups=[])
        self.stop_signal = stop_signal
        output = open(log, "ab") if log else subprocess.DEVNULL
        options.setdefault("stdout", output)
        options.setdefault("stderr", output)
        self.process = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL,
                                        start_new_session=True, **options)
        if log:
            output.close()
        _children.append(self)

    @property
    def pid(self):
        return self.process.pid

    def running(self):
        return self.process.poll() is None

    def signal(self, number):
        if self.running():
            self.process.send_signal(number)

    def kill(self):
        """SIGKILL to the whole group."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        _forget(self)

    def wait(self, timeout_s):
        code = self.process.wait(timeout_s)
        _forget(self)
        return code

    def stop(self, timeout_s=PATIENCE_S):
        """The kind signal, then the other one."""
        self.signal(self.stop_signal)
        try:
            return self.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return None


def _forget(child):
    if child in _children:
        _children.remove(child)


def temp_folder(prefix="millrace_test_"):
    """A folder that every user may enter, removed at exit."""
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    folder.chmod(0o755)
    _folders.append(folder)
    return folder


def keep_everything():
    """Leaves children and folders alone at exit (quickstart --keep)."""
    _children.clear()
    _folders.clear()


def clean_up():
    for child in list(_children):
        child.signal(child.stop_signal)
    deadline = time.monotonic() + 5
    for child in list(_children):
        try:
            child.process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            pass
        child.kill()
    for folder in _folders:
        shutil.rmtree(folder, ignore_errors=True)
    _folders.clear()


def _on_sigterm(*_):
    clean_up()
    os._exit(143)  # an exception would be one test's failure, and the next test would begin


atexit.register(clean_up)
if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
    signal.signal(signal.SIGTERM, _on_sigterm)


def free_port():
    """A port of this process alone for as long as it lives, used or not: no other test is given it (a lock on a
    file says so; with_*.sh keep to it), and it is outside the kernel's range for outgoing connections."""
    folder = CACHE / "ports"
    folder.mkdir(parents=True, exist_ok=True)
    for _ in range(1000):
        port = random.randint(20000, 32000)
        lease = os.open(folder / str(port), os.O_CREAT | os.O_RDWR, 0o666)
        with socket.socket() as probe:
            try:
                fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
                probe.bind(("127.0.0.1", port))
            except OSError:  # another test's, or somebody else's
                os.close(lease)
                continue
        _leases.append(lease)
        return port
    raise RuntimeError("no free port between 20000 and 32000")


def wait_until(condition, timeout_s=PATIENCE_S, what="the condition", interval_s=0.05):
    """Polls until condition() is true; returns its value. Fails with `what` in words, after PATIENCE_S at the
    earliest: timeout_s is for what takes longer by its nature."""
    timeout_s = max(timeout_s, PATIENCE_S)
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {timeout_s} s")
        time.sleep(interval_s)


def bytes_in(folder, pattern="*"):
    """Of the files there now; their owner deletes some meanwhile."""
    total = 0
    for path in Path(folder).glob(pattern):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            pass
    return total


def tail(path, lines=40):
    try:
        return "\n".join(Path(path).read_text(errors="replace").splitlines()[-lines:])
    except OSError as error:
        return f"({error})"
