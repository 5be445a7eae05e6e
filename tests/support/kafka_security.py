"""A broker that wants TLS and a password, and that lets nobody do what no ACL allows; its certificates are made beside it."""
import subprocess

from .children import free_port, temp_folder
from .kafka import Kafka

TOOLS_HEAP_MB = 128


class Authority:
    """Signs certificates for a host; `path` is what a client must trust."""

    def __init__(self, name="authority"):
        self.folder = temp_folder("millrace_authority_")
        self.path = self.folder / "ca.crt"
        self._openssl(f"req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -subj /CN={name} -days 30")

    def _openssl(self, arguments):
        subprocess.run(["openssl"] + arguments.split(), cwd=self.folder, check=True, capture_output=True)

    def server(self, name, hosts):
        """A PEM file of key and chain, for a broker. hosts: as in subjectAltName."""
        self._openssl(f"req -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr -subj /CN=broker")
        (self.folder / f"{name}.names").write_text(f"subjectAltName={hosts}")
        self._openssl(f"x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out {name}.crt -days 30 "
                      f"-extfile {name}.names")
        pem = self.folder / f"{name}.pem"
        pem.write_text("".join(path.read_text() for path in [self.folder / f"{name}.key", self.folder / f"{name}.crt",
                                                             self.path]))
        return pem


class SecureKafka(Kafka):
    """Clients come by SASL_SSL with SCRAM-SHA-256; users: {name: password}; `masters` of them may do
    everything. `misnamed` is the port of a listener whose certificate is for another host. Administration comes by a
    plaintext listener, `inner`, and may do everything too."""

    def __init__(self, users, masters=()):
        self.users, self.authority = users, Authority()
        ports = set()
        while len(ports) < 4:
            ports.add(free_port())
        self.inner, self.misnamed, *main = ports
        scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        settings = {
            "listeners": f"SASL_SSL://127.0.0.1:{main[0]},MISNAMED://127.0.0.1:{self.misnamed},"
                         f"PLAINTEXT://127.0.0.1:{self.inner},CONTROLLER://127.0.0.1:{main[1]}",
            "advertised.listeners": f"SASL_SSL://127.0.0.1:{main[0]},MISNAMED://127.0.0.1:{self.misnamed},"
                                    f"PLAINTEXT://127.0.0.1:{self.inner}",
            "listener.security.protocol.map": "SASL_SSL:SASL_SSL,MISNAMED:SASL_SSL,PLAINTEXT:PLAINTEXT,"
                                              "CONTROLLER:PLAINTEXT",
            "sasl.enabled.mechanisms": "SCRAM-SHA-256",
            "listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config": scram,
            "listener.name.misnamed.scram-sha-256.sasl.jaas.config": scram,
            "ssl.keystore.type": "PEM", "ssl.keystore.location": self.authority.server("proper", "IP:127.0.0.1"),
            "listener.name.misnamed.ssl.keystore.type": "PEM",
            "listener.name.misnamed.ssl.keystore.location": self.authority.server("misnamed", "DNS:elsewhere.example"),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS" + "".join(f";User:{name}" for name in masters),
        }
        super().__init__(ports=tuple(main), formatted_with=[f"--add-scram=SCRAM-SHA-256=[name={name},password={password}]"
                                                     for name, password in users.items()], **settings)

    def client(self, user, *, password=None, authority=None, **more):
        """What log.kafka says of a client."""
        settings = {"security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-256", "sasl.username": user,
                    "sasl.password": password or self.users[user], "ssl.ca.location": str(authority or self.authority.path)}
        return {**settings, **more}

    def allow(self, user, *operations, topics="*"):
        """Of topics; several at once, as each call is a JVM."""
        wanted = [argument for operation in operations for argument in ("--operation", operation)]
        subprocess.run(self.java(TOOLS_HEAP_MB) + ["kafka.admin.AclCommand", "--bootstrap-server",
                                                   f"127.0.0.1:{self.inner}", "--add", "--force", "--allow-principal",
                                                   f"User:{user}", "--topic", topics] + wanted,
                       check=True, capture_output=True)
