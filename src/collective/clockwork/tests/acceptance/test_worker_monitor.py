"""A worker process with two databases and a monitor, both as zope.conf says."""

from __future__ import annotations

from collective.clockwork.engine.testing import wait_until
from collective.clockwork.tests.codeblocks import named_blocks
from collective.clockwork.tests.plone import instancehome
from pathlib import Path
from Zope2.Startup.options import ZopeWSGIOptions

import json
import os
import pytest
import signal
import socket
import subprocess
import sys


#: Seconds that anything may take on a busy machine.
PATIENCE = 120

MONITOR = """\
<product-config collective.clockwork>
  monitor {home}/monitor
</product-config>
"""

ASYNC_DB = """\
<zodb_db async>
  <mappingstorage>
  </mappingstorage>
  mount-point /zasync
</zodb_db>
"""


def write(home: Path, async_db: str) -> Path:
    """Write the zope.conf of a worker of two databases, with a monitor."""
    parts = (async_db, instancehome.named(home / "uuid.txt"), MONITOR.format(home=home))
    return instancehome.write(home, "multi_db_worker.zcml", "\n".join(parts))


@pytest.fixture
def home(tmp_path_factory):
    """Its name is short, because the name of a socket file has a limit."""
    return tmp_path_factory.mktemp("w")


@pytest.fixture
def start(home):
    """Starts a worker of two databases; gives it, and a function for its log."""
    log = home / "worker.log"
    started = []

    def start(async_db=ASYNC_DB):
        conf = write(home, async_db)
        environ = {k: v for k, v in os.environ.items() if k != "ZC_ASYNC_UUID"}
        command = [sys.executable, "-m", "collective.clockwork.worker", str(conf)]
        with open(log, "wb") as stream:
            process = subprocess.Popen(
                command, stdout=stream, stderr=stream, cwd=home, env=environ
            )
        started.append(process)
        return process, lambda: log.read_text(errors="replace")

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()


def ask(path, line: str) -> str:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(f"{line}\n".encode())
        return b"".join(iter(lambda: client.recv(4096), b"")).decode()


def test_the_monitor_answers_until_the_worker_is_stopped(start, home):
    process, said = start()
    path = home / "monitor"
    wait_until(
        lambda: path.exists() or process.poll() is not None, "the start", PATIENCE
    )
    assert process.poll() is None, said()
    uuid = (home / "uuid.txt").read_text().split()[0]
    wait_until(
        lambda: json.loads(ask(path, "asyncdb UUIDs")) == [uuid],
        "a worker in the database of the queues",
        PATIENCE,
    )
    wait_until(
        lambda: json.loads(ask(path, "async status"))["status"] == "RUNNING",
        "a look into the queues",
        PATIENCE,
    )
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0, said()
    assert not path.exists()


def test_a_worker_without_the_second_database_ends_and_says_what_is_missing(
    start, home
):
    process, said = start(async_db="")
    assert process.wait(PATIENCE) == 2, said()
    assert "add a section <zodb_db async>" in said()
    assert not (home / "monitor").exists()


def test_the_section_in_the_docs_names_the_second_database(home):
    section = named_blocks("docs/production.rst")["zope.conf"]
    conf = write(home, section)
    dbtab = ZopeWSGIOptions(configfile=str(conf))().configroot.dbtab
    assert dict(dbtab.listMountPaths())["/zasync"] == "async"
