"""Fixtures of the scenarios: `world` is a fresh pair of databases, `servers` the clusters of the file."""
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.world import Servers, World  # noqa: E402


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


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.failed and hasattr(item, "world"):
        for title, text in item.world.logs():
            report.sections.append((title, text))
