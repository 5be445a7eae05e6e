"""355 A password that is changed and a certificate that expires under the relay: named, waited for, gone on with."""
import subprocess

import pytest

from support.children import temp_folder, wait_until
from support.world import stream_of

DDL = "create table public.t (id int primary key, v text)"


def terminate_sessions(server, number):
    server.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name ~ 'millrace' and "
                   "datname ~ %s", (f"{number}$",))


@pytest.mark.fault(17)
@pytest.mark.parametrize("side", ["source", "target"])
def test_password_is_changed(world, recovery, side):
    server = getattr(world, side)
    role = f"keeper{world.number}"
    server.execute(f"create role {role} superuser replication login password 'first-secret'")
    server.server.hba(f"host all {role} 127.0.0.1/32 scram-sha-256")
    server.execute("select pg_reload_conf()")
    wrong = server.dsn(user=role, password="wrong")
    wait_until(lambda: "authentication failed" in handshake(server, wrong), what="the server asks for the password")
    relay = stream_of(world, ["public.t"], DDL, config={side: {"dsn": server.dsn(user=role, password="first-secret")}})
    relay.start(ready=True)
    world.source.execute("insert into t values (1, 'a')")
    world.wait_same("t")
    server.execute(f"alter role {role} password 'second-secret'")
    terminate_sessions(server, world.number)
    status = relay.wait_status(lambda s: s["health"]["state"] == "blocked" and "password" in s["health"]["why"], 30,
                               "blocked, and it says why")
    assert role in status["health"]["why"], status["health"]
    world.source.execute("insert into t values (2, 'b')")
    server.execute(f"alter role {role} password 'first-secret'")
    with recovery():
        world.wait_same("t")
    relay.wait_status(lambda s: s["health"]["state"] == "ok", 20, "health is ok again")
    assert "secret" not in relay.log_text() and "secret" not in str(status)
    assert relay.terminate()[0] == 0


class Certificates:
    """An authority of the test's own, and what it signs for 127.0.0.1."""

    def __init__(self):
        self.folder = temp_folder("millrace_certificates_")
        self.authority = self.folder / "ca.crt"
        self._openssl("req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -subj /CN=authority -days 30")
        self._openssl("req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=localhost")
        (self.folder / "names").write_text("subjectAltName=IP:127.0.0.1")

    def _openssl(self, arguments):
        subprocess.run(["openssl"] + arguments.split(), cwd=self.folder, check=True, capture_output=True)

    def install(self, server, days):
        """A new certificate of so many days at the server; sessions that are open go on with the old one."""
        self._openssl("x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out server.crt "
                      f"-days {days} -extfile names")
        for name in ("server.crt", "server.key"):
            subprocess.run(["install", "-m", "600", "-o", str(server.data.stat().st_uid), self.folder / name,
                            server.data / name], check=True)
        if server.child:
            server.execute("select pg_reload_conf()")


@pytest.mark.fault(17)
@pytest.mark.parametrize("side", ["source", "target"])
def test_certificate_expires(world, recovery, side):
    certificates = Certificates()
    server = getattr(world, side)
    certificates.install(server.server, 30)
    if server.one("show ssl") == "off":
        server.execute("alter system set ssl = on")
        server.execute("select pg_reload_conf()")
        wait_until(lambda: ssl_is_on(server), 10, "ssl is on")
    dsn = server.dsn(sslmode="verify-full", sslrootcert=certificates.authority)
    relay = stream_of(world, ["public.t"], DDL, config={side: {"dsn": dsn}})
    relay.start(ready=True)
    world.source.execute("insert into t values (1, 'a')")
    world.wait_same("t")
    assert server.one("select count(*) from pg_stat_ssl join pg_stat_activity using (pid) where ssl and application_name ~ "
                      "'millrace'") > 0
    certificates.install(server.server, -1)
    wait_until(lambda: "certificate verify failed" in handshake(server, dsn), 20, "the server shows the new certificate")
    terminate_sessions(server, world.number)
    relay.wait_status(lambda s: s["health"]["state"] == "blocked" and "certificate" in s["health"]["why"], 30,
                      "blocked, and it says why")
    world.source.execute("insert into t values (2, 'b')")
    certificates.install(server.server, 30)
    with recovery():
        world.wait_same("t")
    relay.wait_status(lambda s: s["health"]["state"] == "ok", 20, "health is ok again")
    assert relay.terminate()[0] == 0


def handshake(server, dsn):
    return subprocess.run([server.bin / "psql", "-X", "-d", dsn, "-c", "select 1"], capture_output=True, text=True).stderr


def ssl_is_on(server):
    server.drop_connection()
    return server.one("show ssl") == "on"
