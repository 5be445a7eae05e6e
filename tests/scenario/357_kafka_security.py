"""357 Kafka by TLS and a password: who is turned away is told why, and which right is missing; no password is ever shown."""
import pytest

from support.kafka_security import Authority, SecureKafka
from support.world import last_line

DDL = "create table public.t (id int primary key, v text)"
USERS = {"keeper": "keepers-secret", "novice": "novices-secret"}
WRONG = "mistyped-secret"


@pytest.fixture(scope="module")
def broker():
    kafka = SecureKafka(USERS, masters=["keeper"])
    yield kafka
    kafka.kill()


@pytest.fixture
def connect(world, broker):
    """A relay that comes to the broker with these settings of librdkafka's."""
    world.both(DDL)

    def made(settings, brokers=None):
        return world.relay(["public.t"], kafka=broker, config={"log": {"kafka": settings, **({"brokers": brokers} if brokers else {})}})
    return made


def assert_no_secret(text):
    for secret in [*USERS.values(), WRONG]:
        assert secret not in text, text


def streams(world, relay):
    """The relay runs and carries rows; it stops when asked."""
    relay.start(ready=True)
    count = world.source.one("select count(*) from t")
    world.source.execute("insert into t select g, 'x' from generate_series(%s, %s) g", (count + 1, count + 100))
    world.wait_same("t", timeout_s=60)
    assert relay.terminate()[0] == 0
    assert_no_secret(relay.log_text())


def test_password_and_certificate(world, broker, connect):
    relay = connect(broker.client("keeper"))
    relay.setup()
    streams(world, relay)
    shown = relay.command("teardown", "--yes")
    assert shown.returncode == 0, shown.stderr


@pytest.mark.parametrize("what, words", [
    ("password", ["authentication", "sasl.password"]), ("mechanism", ["mechanism", "SCRAM-SHA-256", "sasl.mechanism"]),
    ("authority", ["certificate verify failed", "ssl.ca.location"]),
    ("host", ["certificate verify failed", "must name the host"]), ("plaintext", ["security.protocol"])])
def test_turned_away(broker, connect, what, words):
    settings, brokers = broker.client("keeper"), None
    if what == "password":
        settings["sasl.password"] = WRONG
    if what == "mechanism":
        settings["sasl.mechanism"] = "PLAIN"
    if what == "authority":
        settings["ssl.ca.location"] = str(Authority("stranger").path)
    if what == "host":
        brokers = f"127.0.0.1:{broker.misnamed}"
    if what == "plaintext":
        settings = {}
    done = connect(settings, brokers).command("setup")
    assert done.returncode == 1, done
    said = last_line(done.stderr)
    for word in [*words, "kafka 127.0.0.1:"]:
        assert word in said, said
    assert_no_secret(done.stdout + done.stderr)


def test_a_running_relay_says_why_it_waits(broker, connect):
    relay = connect(broker.client("keeper", password=WRONG))
    relay.start()
    status = relay.wait_status(lambda s: s["health"]["state"] == "blocked" and "authentication" in s["health"]["why"], 60,
                               "blocked, and it says why")
    assert_no_secret(str(status) + relay.log_text() + relay.get("/metrics")[1])
    code, seconds = relay.terminate()
    assert code in (0, 1) and seconds < 10


def test_each_right_that_is_missing_is_named(world, broker, connect):
    relay = connect(broker.client("novice"))
    manifests = f"{relay.name}.manifest"

    def said(done):
        assert done.returncode != 0, done
        assert_no_secret(done.stdout + done.stderr)
        return last_line(done.stderr)

    def waits_for(right):
        relay.start()
        status = relay.wait_status(lambda s: f"right {right} is missing" in s["health"]["why"], 60, f"{right} is named")
        assert manifests in status["health"]["why"] and "User:novice" in status["health"]["why"], status["health"]
        assert relay.terminate()[0] == 0
    words = said(relay.command("setup"))
    assert manifests in words and "right Describe is missing" in words and "--operation Describe" in words, words
    broker.allow("novice", "Describe")
    words = said(relay.command("setup"))
    assert manifests in words and "right Create" in words, words
    broker.allow("novice", "Create", "DescribeConfigs")
    words = said(relay.command("setup"))
    assert manifests in words and "right Write is missing" in words, words
    waits_for("Write")
    broker.allow("novice", "Write")
    waits_for("Read")
    broker.allow("novice", "Read")
    relay.setup()
    streams(world, relay)
    words = said(relay.command("teardown", "--yes"))
    assert "right Delete is missing" in words, words
