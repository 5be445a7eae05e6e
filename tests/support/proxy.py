"""A TCP proxy that does to a link what networks do: cuts, losses in one direction, delay, narrow pipes, refusals.

`up` is the direction from the client (the relay) to the server, `down` the way back. One thread a proxy."""
import re
import selectors
import socket
import struct
import threading
import time

from .children import free_port

QUEUE_BYTES = 1 << 20  # read ahead of a slow link; beyond it the sender is not read from
SLICE = 1 << 16


class Flow:
    """One direction of a connection: bytes with the time at which they may go on."""

    def __init__(self, source, sink, name):
        self.source, self.sink, self.name = source, sink, name
        self.parts, self.queued, self.ended, self.shut = [], 0, False, False

    def add(self, data, due):
        if data:
            self.parts.append([due, data])
            self.queued += len(data)


class Link:
    """One connection through the proxy. `fate` is what the loop does to it next: rst, fin."""

    def __init__(self, proxy, client, server):
        self.proxy, self.client, self.server = proxy, client, server
        self.up, self.down = Flow(client, server, "up"), Flow(server, client, "down")
        self.lost = set(proxy.lost)
        self.fate, self.keep_server = None, False
        self.watch = proxy.watch(self) if proxy.watch else None

    def cut(self, how="rst", keep_server=False):
        self.fate, self.keep_server = how, keep_server


class Proxy:
    """In front of the server at to_port (a number, or a function that tells it). Faults hold until heal()."""

    def __init__(self, to_port, watch=None):
        """watch: made with each Link; its up(data) and down(data) return what is passed on, and may cut the link."""
        self.to_port, self.watch = to_port, watch
        self.delay_s, self.bytes_per_s, self.lost = 0.0, None, set()
        self.links, self.orphans, self.accepted, self.dropped_bytes = [], [], 0, 0
        self.lock = threading.Lock()
        self._listener, self._stop = None, False
        self._wake, self._woken = socket.socketpair()
        self._woken.setblocking(False)
        self._budget, self._filled = 0.0, time.monotonic()
        self.port = free_port()  # kept while nobody listens, too
        self._listen()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    # What a test does.

    def cut(self, how="rst", keep_server=False):
        """Ends what is open. keep_server: the server is not told, as when its client's host has vanished."""
        with self.lock:
            for link in self.links:
                link.cut(how, keep_server)
        self._wake.send(b"x")

    def half_cut(self, *directions, new=False):
        """Bytes in these directions vanish on what is open (new: and on what will be); nothing is closed."""
        with self.lock:
            for link in self.links:
                link.lost |= set(directions)
            if new:
                self.lost |= set(directions)

    def slow(self, delay_s=0.0, bytes_per_s=None):
        with self.lock:
            self.delay_s, self.bytes_per_s, self._budget = delay_s, bytes_per_s, 0.0
        self._wake.send(b"x")

    def refuse(self):
        """Nobody listens any more; what is open stays."""
        with self.lock:
            self._listener.close()
            self._listener = None
        self._wake.send(b"x")

    def heal(self):
        """New connections pass as they should; one that lost bytes stays broken, as it would be."""
        with self.lock:
            self.lost = set()
            self.delay_s, self.bytes_per_s = 0.0, None
            if self._listener is None:
                self._listen()
        self._wake.send(b"x")

    def close(self):
        self._stop = True
        self._wake.send(b"x")
        self._thread.join(5)

    def through(self, database, **options):
        """The database's DSN by way of this proxy."""
        return re.sub(r"@127\.0\.0\.1:\d+/", f"@127.0.0.1:{self.port}/", database.dsn(**options))

    # The loop.

    def _listen(self):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(64)
        listener.setblocking(False)
        self._listener = listener

    def _run(self):
        while not self._stop:
            with selectors.DefaultSelector() as selector:
                with self.lock:
                    timeout = self._register(selector)
                ready = selector.select(timeout)
            with self.lock:
                for key, events in ready:
                    self._serve(key, events)
                for link in list(self.links):
                    self._settle(link)
        with self.lock:
            for link in self.links:
                link.client.close()
                link.server.close()
            for orphan in self.orphans:
                orphan.close()
            if self._listener:
                self._listener.close()
        self._wake.close()
        self._woken.close()

    def _register(self, selector):
        now, timeout, wanted = time.monotonic(), 1.0, {}
        selector.register(self._woken, selectors.EVENT_READ, None)
        if self._listener:
            selector.register(self._listener, selectors.EVENT_READ, None)
        for link in self.links:
            for flow in (link.up, link.down):
                if not flow.ended and flow.queued < QUEUE_BYTES:
                    wanted.setdefault(flow.source, [link, 0])[1] |= selectors.EVENT_READ
                if flow.parts:
                    wait = self._wait(flow, now)
                    if wait <= 0:
                        wanted.setdefault(flow.sink, [link, 0])[1] |= selectors.EVENT_WRITE
                    else:
                        timeout = min(timeout, wait)
        for sock, (link, events) in wanted.items():
            selector.register(sock, events, link)
        return timeout

    def _wait(self, flow, now):
        """Seconds until the flow's first part may go on."""
        if flow.parts[0][0] > now:
            return flow.parts[0][0] - now
        if self.bytes_per_s is None:
            return 0
        self._budget = min(self.bytes_per_s / 10, self._budget + (now - self._filled) * self.bytes_per_s)
        self._filled = now
        return 0 if self._budget >= 1 else 1 / self.bytes_per_s

    def _serve(self, key, events):
        if key.fileobj is self._woken:
            self._woken.recv(4096)
        elif key.fileobj is self._listener:
            self._accept()
        elif key.data in self.links and not key.data.fate:
            link = key.data
            for flow in (link.up, link.down):
                if flow.source is key.fileobj and events & selectors.EVENT_READ:
                    self._read(link, flow)
                if flow.sink is key.fileobj and events & selectors.EVENT_WRITE and flow.parts:
                    self._write(link, flow)

    def _accept(self):
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        self.accepted += 1
        try:
            port = self.to_port() if callable(self.to_port) else self.to_port
            server = socket.create_connection(("127.0.0.1", port), 5)
        except OSError:  # the server is away: as it would say itself
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
            return
        for sock in (client, server):
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.links.append(Link(self, client, server))

    def _read(self, link, flow):
        try:
            data = flow.source.recv(SLICE)
        except BlockingIOError:
            return
        except OSError:
            return link.cut()
        if not data:
            flow.ended = True
        elif flow.name in link.lost:
            self.dropped_bytes += len(data)
        else:
            if link.watch:
                data = getattr(link.watch, flow.name)(data)
            flow.add(data, time.monotonic() + self.delay_s)

    def _write(self, link, flow):
        part = flow.parts[0]
        most = len(part[1]) if self.bytes_per_s is None else max(1, min(len(part[1]), int(self._budget)))
        try:
            sent = flow.sink.send(part[1][:most])
        except BlockingIOError:
            return
        except OSError:
            return link.cut()
        self._budget -= sent
        flow.queued -= sent
        part[1] = part[1][sent:]
        if not part[1]:
            flow.parts.pop(0)

    def _settle(self, link):
        """Passes on an end, and does what was decided over the link."""
        for flow in (link.up, link.down):
            if flow.ended and not flow.parts and not flow.shut and flow.name not in link.lost:
                flow.shut = True
                try:
                    flow.sink.shutdown(socket.SHUT_WR)
                except OSError:
                    pass
        if link.up.shut and link.down.shut:
            link.fate = link.fate or "fin"
        if not link.fate:
            return
        if link.fate == "rst":
            link.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        link.client.close()
        if link.keep_server:
            self.orphans.append(link.server)
        else:
            link.server.close()
        self.links.remove(link)


class LostCommits:
    """Takes commits of a Postgres client away. mode: reply (it happened, the client does not hear of it), request
    (it never reached the server), late (the client is cut off, and the server gets it late_s afterwards)."""

    def __init__(self, mode, every=4, most=30, late_s=0.5):
        self.mode, self.every, self.most, self.late_s = mode, every, most, late_s
        self.seen, self.dropped = 0, 0
        self.armed = False

    def __call__(self, link):
        return _CommitWatch(self, link)

    def wants(self):
        if not self.armed or self.dropped >= self.most:
            return False
        self.seen += 1
        if self.seen % self.every:
            return False
        self.dropped += 1
        return True


class _CommitWatch:
    NO_STARTUP = (80877103, 80877104)  # SSLRequest, GSSENCRequest: the startup message comes after them

    def __init__(self, rules, link):
        self.rules, self.link = rules, link
        self.sent, self.started, self.waiting, self.held = b"", False, False, b""

    def up(self, data):
        self.sent += data
        out = b""
        while True:
            head = 1 if self.started else 0
            if len(self.sent) < head + 4:
                return out
            length = head + struct.unpack("!I", self.sent[head:head + 4])[0]
            if len(self.sent) < length:
                return out
            message, self.sent = self.sent[:length], self.sent[length:]
            if not self.started:
                self.started = struct.unpack("!I", message[4:8])[0] not in self.NO_STARTUP
            elif message[:1] == b"Q" and message[5:].strip(b" \0;").lower() == b"commit" and self.rules.wants():
                if self.rules.mode == "request":
                    self.link.cut()
                    return out
                if self.rules.mode == "late":
                    threading.Timer(self.rules.late_s, _send_late, (self.link.server, message)).start()
                    self.link.cut(keep_server=True)
                    return out
                self.waiting = True
            out += message

    def down(self, data):
        if not self.waiting:
            return data
        self.held += data
        if b"C\0\0\0\x0bCOMMIT\0" in self.held:  # CommandComplete
            self.link.cut()
            return b""
        if b"Z\0\0\0\5" not in self.held:  # ReadyForQuery: the commit failed, which is passed on
            return b""
        data, self.held, self.waiting = self.held, b"", False
        return data


def _send_late(server, message):
    try:
        server.send(message)
        time.sleep(0.2)
        server.close()
    except OSError:
        pass


class LostProduce:
    """Takes away answers of a Kafka broker to Produce: the records are in the log, and the producer is cut off."""

    def __init__(self, every=10, most=30):
        self.every, self.most, self.seen, self.dropped, self.armed = every, most, 0, 0, False

    def __call__(self, link):
        return _ProduceWatch(self, link)


class _ProduceWatch:
    PRODUCE = 0

    def __init__(self, rules, link):
        self.rules, self.link, self.requests, self.answers, self.ours = rules, link, b"", b"", set()

    def up(self, data):
        self.requests += data
        while (message := _sized(self.requests)) is not None:
            self.requests = self.requests[len(message):]
            api_key, _, correlation = struct.unpack("!hhi", message[4:12])
            if api_key == self.PRODUCE:
                self.ours.add(correlation)
        return data

    def down(self, data):
        self.answers += data
        out = b""
        while (message := _sized(self.answers)) is not None:
            self.answers = self.answers[len(message):]
            correlation = struct.unpack("!i", message[4:8])[0]
            if correlation in self.ours:
                self.ours.discard(correlation)
                self.rules.seen += 1
                if self.rules.armed and self.rules.dropped < self.rules.most and self.rules.seen % self.rules.every == 0:
                    self.rules.dropped += 1
                    self.link.cut()
                    return out
            out += message
        return out


def _sized(data):
    """The first message of a stream of messages that begin with their length."""
    if len(data) < 4:
        return None
    length = 4 + struct.unpack("!I", data[:4])[0]
    return data[:length] if len(data) >= length else None
