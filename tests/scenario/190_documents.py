"""190 Every command that README and docs show in an `sh run` block is run here, in the order of the page.

The folder has a millrace.yaml for two tables; the pipeline is set up and has rows before each page begins,
except for the README, whose reader starts from nothing."""
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from support.children import ROOT
from support.relay import binary

PAGES = sorted(path.relative_to(ROOT).as_posix() for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
               if "```sh run" in path.read_text())


def blocks(page):
    return re.findall(r"^```sh run\n(.*?)^```", (ROOT / page).read_text(), re.S | re.M)


def test_there_are_pages():
    assert "README.md" in PAGES and "docs/operations.md" in PAGES


@pytest.mark.parametrize("page", PAGES)
def test_commands_of(world, page):
    world.both("create table public.customers (id int primary key, name text);"
               "create table public.payments (id int primary key, amount numeric, memo text, deleted_at timestamptz)")
    relay = world.relay(["public.customers", "public.payments"])
    if page != "README.md":
        relay.setup()
        world.source.execute("insert into customers values (1, 'Ada'); insert into payments values (1, 1.5, 'x', null)")
        relay.catch_up()
    (relay.folder / "bin").mkdir()
    (relay.folder / "bin/millrace").symlink_to(Path(binary()).resolve())
    env = dict(os.environ, PATH=f"{relay.folder / 'bin'}:{world.source.bin}:{os.environ['PATH']}",
               SOURCE=world.source.dsn(), TARGET=world.target.dsn())
    for block in blocks(page):
        # Exit codes are part of what a page says: each command must end with 0.
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", block], cwd=relay.folder, env=env, text=True,
                              capture_output=True, timeout=600)
        assert done.returncode == 0, f"{page}:\n{block}\nexit {done.returncode}\n{done.stdout}{done.stderr}"


def test_config_of_the_readme(world):
    """The README's config is read as it stands: `check` gets as far as the connections."""
    config = re.search(r"^```yaml\n(.*?)^```", (ROOT / "README.md").read_text(), re.S | re.M).group(1)
    relay = world.relay([])
    secret = relay.folder / "target"
    secret.write_text("secret")
    secret.chmod(0o600)
    relay.path.write_text(config.replace("/run/secrets/target", str(secret)))
    assert yaml.safe_load(config)["pipeline"]
    done = relay.command("check", env={"SRC_PASSWORD": "x"}, timeout_s=120)
    assert done.returncode == 3, done.stderr + done.stdout


def test_options_reference_is_what_the_program_prints(world):
    done = world.relay([]).command("docs-config", config=False)
    assert done.returncode == 0 and done.stdout == (ROOT / "docs/configuration.md").read_text()


def test_links_between_pages_hold():
    broken = []
    for page in [ROOT / "README.md", ROOT / "relay/README.md", *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
            if "://" not in link and not (page.parent / link).exists():
                broken.append(f"{page.relative_to(ROOT)}: {link}")
    assert not broken, "\n".join(broken)
