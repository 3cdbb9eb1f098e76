"""``clockwork-worker --supervise``: a worker that is started again when it died."""

from __future__ import annotations

from argparse import Namespace
from collective.clockwork import worker
from collective.clockwork.engine import instanceuuid
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.retry import ServiceRetry
from collective.clockwork.tests.plone.instancehome import named
from collective.clockwork.tests.plone.instancehome import write
from functools import partial

import os
import pytest
import signal
import subprocess
import sys


PATIENCE = 120


@pytest.fixture
def write_conf(tmp_path):
    return partial(write, tmp_path)


@pytest.fixture
def run(tmp_path):
    """Starts a supervised worker; gives the process and a function for its log."""
    log = tmp_path / "worker.log"
    started = []

    def start(conf):
        command = [sys.executable, "-m", "collective.clockwork.worker"]
        environ = {k: v for k, v in os.environ.items() if k != instanceuuid.key}
        with open(log, "wb") as stream:
            started.append(
                subprocess.Popen(
                    [*command, "--supervise", "--grace", "1", str(conf)],
                    stdout=stream,
                    stderr=stream,
                    cwd=tmp_path,
                    env=environ,
                )
            )
        return started[-1], lambda: log.read_text(errors="replace")

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()


def test_the_child_is_the_same_program_with_the_same_options(monkeypatch):
    arguments = Namespace(zope_conf="a.conf", grace=3.5, log_level="DEBUG")
    options = ["a.conf", "--grace", "3.5", "--log-level", "DEBUG"]
    main = Namespace(__spec__=None)
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.setattr(sys, "argv", ["bin/clockwork-worker", "--supervise", "a.conf"])
    assert worker.child_command(arguments) == [
        sys.executable,
        "bin/clockwork-worker",
        *options,
    ]
    main.__spec__ = Namespace(name="collective.clockwork.worker")
    assert worker.child_command(arguments) == [
        sys.executable,
        "-m",
        "collective.clockwork.worker",
        *options,
    ]


def test_the_uuid_file_is_the_one_that_the_configuration_names(
    write_conf, tmp_path, monkeypatch
):
    monkeypatch.setenv(instanceuuid.key, "another")
    worker.use_uuid_file_of(str(write_conf(more=named(tmp_path / "mine.txt"))))
    assert instanceuuid.uuid_file() == tmp_path / "mine.txt"


def test_without_one_there_the_environment_counts(write_conf, tmp_path, monkeypatch):
    monkeypatch.setenv(instanceuuid.key, str(tmp_path / "another.txt"))
    worker.use_uuid_file_of(str(write_conf()))
    assert instanceuuid.uuid_file() == tmp_path / "another.txt"


def test_a_configuration_that_makes_no_worker_ends_the_supervisor_too(write_conf, run):
    process, said = run(write_conf("single_db_instance.zcml"))
    assert process.wait(PATIENCE) == 2, said()
    assert said().count("starts no dispatcher") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="finds the child in /proc")
def test_a_killed_worker_is_started_again_under_the_same_uuid(
    write_conf, run, tmp_path
):
    process, said = run(write_conf(more=named(tmp_path / "mine.txt")))
    wait_until(lambda: said().count(worker.READY) == 1, "the start", PATIENCE)
    (child,) = children_of(process.pid)
    os.kill(child, signal.SIGKILL)
    wait_until(lambda: said().count(worker.READY) == 2, "a new start", PATIENCE)
    assert f"process {child} died: SIGKILL" in said()
    uuid = (tmp_path / "mine.txt").read_text().split()[0]
    assert said().count(f"dispatcher {uuid} is starting") == 2
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0
    assert "Stopping: no new jobs" in said()


def children_of(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as stream:
        return [int(child) for child in stream.read().split()]


def test_jobs_of_the_service_may_bring_three_processes_down():
    policy = ServiceRetry()
    assert [policy.interrupted() for _ in range(4)] == [True, True, True, False]
