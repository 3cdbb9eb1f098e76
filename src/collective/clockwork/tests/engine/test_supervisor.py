"""The parent of a worker: restarts, signals, and notes about deaths."""

from __future__ import annotations

from collective.clockwork.engine import supervisor
from collective.clockwork.engine.instanceuuid import key as UUID_VARIABLE
from collective.clockwork.engine.supervisor import Note
from collective.clockwork.engine.supervisor import read_notes
from collective.clockwork.engine.supervisor import Tail
from collective.clockwork.engine.supervisor import write_note
from collective.clockwork.engine.testing import wait_until
from dataclasses import replace
from uuid import UUID
from uuid import uuid4

import json
import os
import pytest
import signal
import socket
import subprocess
import sys


PATIENCE = 30

NOTE = Note(
    at_us=1,
    host="here",
    pid=7,
    exit_code=None,
    signal="SIGKILL",
    peak_rss=5_000_000,
    lines=("first", "last"),
)


@pytest.fixture
def uuid(tmp_path, monkeypatch):
    made = uuid4()
    path = tmp_path / "uuid.txt"
    path.write_text(f"{made}\n")
    monkeypatch.setenv(UUID_VARIABLE, str(path))
    return made


class Supervised:
    """A supervisor in a process of its own, with short waits."""

    def __init__(self, directory, command, first_wait=0.01, stderr=None):
        self.log = directory / "stderr.txt"
        code = (
            "import sys; from collective.clockwork.engine import supervisor\n"
            f"supervisor.FIRST_WAIT = {first_wait}\n"
            "sys.exit(supervisor.main(sys.argv[1:]))"
        )
        with open(self.log, "wb") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code, "--", *command],
                stderr=stream if stderr is None else stderr,
                cwd=directory,
            )

    def said(self):
        return self.log.read_text(errors="replace")

    def wait(self):
        return self.process.wait(PATIENCE)


@pytest.fixture
def supervise(tmp_path, uuid):
    started = []

    def start(code, *arguments, **options):
        command = [sys.executable, "-u", "-c", code, *map(str, arguments)]
        started.append(Supervised(tmp_path, command, **options))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
        each.wait()


#: Dies as often as it has words; then it ends in order.
DIES = """
import os, signal, sys
path, *ways = sys.argv[1:]
with open(path, "a") as stream:
    stream.write("start\\n")
with open(path) as stream:
    count = len(stream.readlines())
print(f"line of start {count}", file=sys.stderr)
if count > len(ways):
    sys.exit(0)
way = ways[count - 1]
if way.isdigit():
    sys.exit(int(way))
os.kill(os.getpid(), getattr(signal, way))
"""


def test_it_starts_the_command_again_until_that_ends_in_order(
    supervise, tmp_path, uuid
):
    started = tmp_path / "starts"
    process = supervise(DIES, started, "SIGKILL", "3", "SIGSEGV")
    assert process.wait() == 0
    assert started.read_text().count("start") == 4
    notes = read_notes(uuid)
    assert [note.signal for note in notes] == ["SIGKILL", None, "SIGSEGV"]
    assert [note.exit_code for note in notes] == [None, 3, None]
    assert [note.lines for note in notes] == [
        ("line of start 1",),
        ("line of start 2",),
        ("line of start 3",),
    ]
    assert {note.host for note in notes} == {socket.gethostname()}
    assert len({note.pid for note in notes}) == 3
    assert all(1_000_000 < note.peak_rss < 1_000_000_000 for note in notes)
    assert notes[0].at_us < notes[1].at_us < notes[2].at_us
    said = process.said()
    assert said.count("line of start") == 4
    assert "died: SIGKILL" in said and "died: exit code 3" in said


def test_it_does_not_start_again_what_cannot_work_as_it_is_called(
    supervise, tmp_path, uuid
):
    started = tmp_path / "starts"
    assert supervise(DIES, started, "2").wait() == 2
    assert started.read_text().count("start") == 1
    assert read_notes(uuid) == []


WAITS = """
import os, signal, sys
numbers = {signal.SIGTERM, signal.SIGINT}
signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
print("waiting in", os.getpid(), file=sys.stderr)
number = signal.sigwait(numbers)
print(f"got {number.name}", file=sys.stderr)
sys.exit(int(sys.argv[1]))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("code", [0, 5])
def test_it_hands_signals_on_and_ends_with_the_child(supervise, uuid, number, code):
    process = supervise(WAITS, code)
    wait_until(lambda: "waiting" in process.said(), "the start", PATIENCE)
    process.process.send_signal(number)
    assert process.wait() == code
    assert f"got {number.name}" in process.said()
    assert read_notes(uuid) == []


def test_a_child_that_dies_of_the_stop_is_told_apart_by_the_exit_code(supervise):
    code = "import sys, time; print('up', file=sys.stderr); time.sleep(600)"
    process = supervise(code)
    wait_until(lambda: "up" in process.said(), "the start", PATIENCE)
    process.process.send_signal(signal.SIGTERM)
    assert process.wait() == 128 + signal.SIGTERM


def test_it_can_be_stopped_between_two_starts(supervise, tmp_path, uuid):
    started = tmp_path / "starts"
    process = supervise(DIES, started, "7", "7", first_wait=3600)
    wait_until(lambda: "the next start" in process.said(), "the wait", PATIENCE)
    process.process.send_signal(signal.SIGTERM)
    assert process.wait() == 7
    assert started.read_text().count("start") == 1
    assert [note.exit_code for note in read_notes(uuid)] == [7]


@pytest.mark.skipif(sys.platform != "linux", reason="done by the kernel of Linux")
def test_a_child_stops_when_its_supervisor_is_killed(supervise, tmp_path):
    process = supervise(WAITS, 0)
    wait_until(lambda: process.said().endswith("\n"), "the start", PATIENCE)
    pid = int(process.said().split()[2])
    assert _is_running(pid)
    process.process.kill()
    process.wait()
    wait_until(lambda: not _is_running(pid), "the child's end", PATIENCE)


def _is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as stream:
            return stream.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_waits_grow_up_to_the_longest(uuid, monkeypatch):
    waits = []
    monkeypatch.setattr(
        supervisor.select, "select", lambda *arguments: waits.append(arguments[-1])
    )
    made = supervisor.Supervisor(["nothing"])
    for failures in (1, 2, 3, 4, 10, 10_000):
        made._failures = failures
        made._pause()
    assert waits == [1, 2, 4, 8, 60, 60]


def test_a_command_that_is_not_there_is_reported(supervise, tmp_path, uuid):
    process = Supervised(tmp_path, [str(tmp_path / "missing")])
    assert process.wait() == 2
    assert "No such file" in process.said()


def test_a_broken_uuid_file_is_reported(supervise, tmp_path, uuid):
    (tmp_path / "uuid.txt").write_text("nothing of the kind\n")
    process = supervise("raise SystemExit(0)")
    assert process.wait() == 2
    assert "is no UUID: remove the file" in process.said()


def test_no_command_is_refused(capsys):
    with pytest.raises(SystemExit):
        supervisor.main(["--"])
    assert "which command?" in capsys.readouterr().err


def test_the_stream_is_passed_on_unchanged(supervise, tmp_path):
    data = bytes(range(256)) * 3000 + b"\n\n\xff end without newline"
    (tmp_path / "data").write_bytes(data)
    code = (
        "import sys\n"
        "sys.stderr.buffer.write(open(sys.argv[1], 'rb').read())\n"
        "sys.stderr.flush()"
    )
    process = supervise(code, tmp_path / "data")
    assert process.wait() == 0
    assert process.log.read_bytes() == data


def test_a_child_does_not_wait_for_whoever_reads_the_stream(supervise, tmp_path):
    reading, writing = os.pipe()
    code = (
        "import sys\nfor n in range(3): sys.stderr.write('x' * 100_000)\n"
        "open(sys.argv[1], 'w').close()"
    )
    os.close(reading)
    process = supervise(code, tmp_path / "done", stderr=writing)
    os.close(writing)
    assert process.wait() == 0
    assert (tmp_path / "done").exists()


# The last lines


def test_the_tail_keeps_the_last_lines_cut():
    tail = Tail()
    for number in range(100):
        tail.feed(f"line {number} ".encode() + b"x" * 1000 + b"\n")
    lines = tail.lines()
    assert len(lines) == 20
    assert lines[0].startswith("line 80 ") and lines[-1].startswith("line 99 ")
    assert {len(line) for line in lines} == {200}


@pytest.mark.parametrize("size", [1, 2, 3, 5, 1000])
def test_pieces_of_any_size_give_the_same_lines(size):
    data = "one\nzwölf\n\x1b[31mred\tend\n\nlast".encode()
    tail = Tail()
    for start in range(0, len(data), size):
        tail.feed(data[start : start + size])
    assert tail.lines() == ("one", "zwölf", " [31mred end", "", "last")


def test_a_stream_without_newlines_takes_no_memory():
    tail = Tail()
    for _ in range(1000):
        tail.feed("ä".encode() * 10_000)
    assert tail.lines() == ("ä" * 200,)
    assert len(tail._unfinished) <= 800


# Notes


def test_notes_are_removed_when_read(uuid, tmp_path):
    other = replace(NOTE, pid=8, exit_code=1, signal=None, lines=())
    write_note(uuid, NOTE)
    write_note(uuid, other)
    assert [path.name for path in tmp_path.glob("*.deaths*")] == [f"{uuid}.deaths.json"]
    assert read_notes(uuid) == [NOTE, other]
    assert read_notes(uuid) == []
    assert list(tmp_path.glob("*.deaths*")) == []


def test_another_worker_of_the_same_directory_can_read_them(
    uuid, tmp_path, monkeypatch
):
    write_note(uuid, NOTE)
    monkeypatch.setenv(UUID_VARIABLE, str(tmp_path / "other.txt"))
    assert read_notes(UUID(int=1)) == []
    assert read_notes(uuid) == [NOTE]
    assert not (tmp_path / "other.txt").exists()


def test_notes_are_bounded_and_for_their_owner_only(uuid, tmp_path):
    for number in range(12):
        write_note(uuid, replace(NOTE, pid=number, lines=("y" * 200,) * 20))
    path = tmp_path / f"{uuid}.deaths.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [note.pid for note in read_notes(uuid)] == [7, 8, 9, 10, 11]


@pytest.mark.parametrize(
    "content",
    ["", "no json", "{}", "[1]", '[{"pid": 1}]', '"text"', "\udcff"],
)
def test_notes_that_cannot_be_read_are_dropped(uuid, tmp_path, caplog, content):
    path = tmp_path / f"{uuid}.deaths.json"
    path.write_bytes(content.encode(errors="surrogateescape"))
    assert read_notes(uuid) == []
    assert "cannot be read" in caplog.text
    assert not path.exists()
    write_note(uuid, NOTE)
    assert read_notes(uuid) == [NOTE]


def test_what_others_wrote_into_the_file_is_cut(uuid, tmp_path):
    fields = {**vars(NOTE), "lines": ["z" * 5000] * 100}
    (tmp_path / f"{uuid}.deaths.json").write_text(json.dumps([fields] * 50))
    notes = read_notes(uuid)
    assert len(notes) == 5
    assert notes[0].lines == ("z" * 200,) * 20


def test_a_note_that_cannot_be_written_ends_nothing(supervise, tmp_path, uuid):
    # Its draft has this name.
    (tmp_path / f"{uuid}.deaths.json.new").mkdir()
    started = tmp_path / "starts"
    process = supervise(DIES, started, "1")
    assert process.wait() == 0
    assert started.read_text().count("start") == 2
    assert "the note about process" in process.said()
