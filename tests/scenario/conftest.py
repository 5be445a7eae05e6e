"""Fixtures of the scenarios: `world` is a fresh pair of databases, `servers` the clusters of the file."""
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support import faults, promises  # noqa: E402
from support.kafka import Kafka  # noqa: E402
from support.proxy import Proxy  # noqa: E402
from support.world import Servers, World  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "fault(row): a row of the fault matrix, docs/reliability.md")


@pytest.fixture
def recovery():
    return faults.Recovery()


@pytest.fixture(scope="module")
def servers():
    group = Servers()
    yield group
    group.stop()


@pytest.fixture
def world(servers, request):
    one = World(servers)
    request.node.world = one
    yield one
    one.close()


@pytest.fixture(scope="module")
def broker():
    """A broker that is reached through a proxy only."""
    one = Kafka(proxied=True)
    yield one
    one.kill()
    one.proxy.close()


@pytest.fixture
def links(world, broker):
    """A proxy for each link of the relay, by the name of its other end."""
    made = {"source": Proxy(lambda: world.source.port), "broker": broker.proxy,
            "target": Proxy(lambda: world.target.port)}
    yield made
    broker.proxy.heal()
    for side in ("source", "target"):
        made[side].close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.when == "call" or report.failed:
        faults.record(item, report.outcome, report.duration)
    if report.failed:
        promises.record(item, call.excinfo.value)
    if report.failed and hasattr(item, "world"):
        for title, text in item.world.logs():
            report.sections.append((title, text))
