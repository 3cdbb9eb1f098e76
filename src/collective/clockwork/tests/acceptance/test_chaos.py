"""The short form of ``make chaos``; and its checks notice what they are for."""

from __future__ import annotations

from chaos import checks
from chaos import optionchecks
from chaos.jobs import Entry
from chaos.ledger import LEDGER
from chaos.ledger import Record
from collective.clockwork.engine.failure import Failure
from collective.clockwork.engine.job import Job
from collective.clockwork.tests.engine.zeoprocess import tied
from pathlib import Path
from ZEO.Exceptions import ServerException

import collective.clockwork
import os
import pytest
import subprocess
import sys


ROOT = Path(collective.clockwork.__file__).parents[3]
#: Seconds that a run may take. It needs half a minute, and a minute if others want
#: both cores too; what makes it end late is the wait for a job that is lost.
LIMIT = 400


@pytest.mark.timeout(LIMIT + 60)
def test_jobs_survive_kills_freezes_cuts_restarts_and_a_full_disk():
    command = [sys.executable, "-m", "chaos.run", "--short", "--limit", str(LIMIT), "7"]
    run = subprocess.run(
        tied(command), cwd=ROOT, capture_output=True, text=True, timeout=LIMIT + 30
    )
    said = run.stdout + run.stderr
    assert run.returncode == 0, said
    assert "\n0 violations" in said, said


@pytest.fixture
def line(tmp_path):
    """A ledger of two jobs of the quota "line", which did as they should."""
    rows = {}
    for number in range(2):
        entry = Entry()
        entry.effects = ("worker0 1",)
        entry.place = number + 1
        entry.attempt = 0
        rows[number] = Record("line", Job(os.getpid), entry)
    note(
        tmp_path, "1.0 begin 0.0 0", "2.0 end 0.0 0", "3.0 begin 0.1 0", "4.0 end 0.1 0"
    )
    return {LEDGER: {0: rows}}


def note(directory, *lines):
    text = "\n".join(lines)
    (directory / "line-worker0.txt").write_text(f"{text}\n")


def test_the_checks_have_nothing_to_say_of_jobs_in_a_line(line, tmp_path):
    assert list(checks.check_order(line)) == []
    assert list(checks.check_overlap(line, checks.read_spans(tmp_path))) == []


def test_the_checks_notice_an_effect_that_is_there_twice(line):
    record = line[LEDGER][0][0]
    record.entry.effects *= 2
    (text,) = checks.check_effect("line 0.0", "line", record.job, record.entry)
    assert "has the effects" in text


def test_the_checks_notice_an_effect_that_is_missing(line):
    record = line[LEDGER][0][0]
    record.entry.effects = ()
    assert list(checks.check_effect("line 0.0", "line", record.job, record.entry))


def test_the_checks_notice_that_two_changed_places(line):
    first, second = line[LEDGER][0].values()
    first.entry.place, second.entry.place = 2, 1
    assert len(list(checks.check_order(line))) == 2


def test_the_checks_notice_that_two_ran_at_once(line, tmp_path):
    note(
        tmp_path, "1.0 begin 0.0 0", "3.5 end 0.0 0", "3.0 begin 0.1 0", "4.0 end 0.1 0"
    )
    (text,) = checks.check_overlap(line, checks.read_spans(tmp_path))
    assert text == "line 0.1 began before line 0.0 had ended"


def test_the_checks_let_an_attempt_run_on_that_was_taken_over(line, tmp_path):
    line[LEDGER][0][0].entry.attempt = 1
    note(
        tmp_path,
        *("1.0 begin 0.0 0", "1.5 begin 0.0 1", "2.0 end 0.0 1"),
        *("3.0 begin 0.1 0", "3.5 end 0.0 0", "4.0 end 0.1 0"),
    )
    assert list(checks.check_overlap(line, checks.read_spans(tmp_path))) == []


def test_the_checks_notice_a_job_that_failed_because_of_its_storage(line):
    record = line[LEDGER][0][0]
    record.entry.effects = ()
    record.job._status, record.job._result = 3, Failure(ServerException("full"))
    (text,) = checks.check_effect("line 0.0", "line", record.job, record.entry)
    assert "failed" in text


def test_the_checks_wait_for_no_member_that_a_failed_batch_did_not_put():
    record = Record("serial", Job(os.getpid), Entry())
    record.parts = ((Job(os.getpid), Entry()), (Job(os.getpid), Entry()))
    root = {LEDGER: {0: {0: record}}}
    assert len(checks.unfinished(root)) == 3
    (begun, _), _ = record.parts
    begun._status = 1
    record.job._status, record.job._result = 3, Failure(ValueError("conflicts"))
    (text,) = checks.unfinished(root)
    assert text.startswith("serial 0.0 part 0")
    assert checks.count_unfinished(root) == 1


def test_the_checks_notice_items_that_are_done_twice_or_left_out(tmp_path):
    record = Record("resumable", Job(os.getpid), Entry())
    record.tally = {0: 1, 1: 2, 3: 1}
    rows = [("resumable 0.1", record)]
    texts = list(optionchecks.check_loops(rows, tmp_path, lambda job: True))
    assert [text.split(": ")[0] for text in texts] == [
        "resumable 0.1 has items with several effects",
        "resumable 0.1 has left out items",
        "resumable 0.1 is completed, and only 3 items are done",
    ]


def test_the_checks_notice_too_many_visits():
    def check(*calls):
        return list(optionchecks.check_visits("it", dict(enumerate(calls)), 20))

    assert check(list(range(9)), list(range(6, 20))) == []
    assert check([*range(9), *range(6, 20)]) == []
    assert check(list(range(15)), list(range(20)))
    assert check([*range(9), *range(20)])
    assert check([0, 2])


def test_the_checks_notice_two_of_one_key_at_once():
    rows, spans = [], {}
    for number, span in enumerate([[1.0, 3.0], [2.0, 4.0]]):
        record = Record("unique", Job(os.getpid), Entry())
        record.key, record.entry.effects, record.entry.attempt = "drop", ("x",), 0
        rows.append((f"unique 0.{number}", record))
        spans[f"0.{number}", 0] = span
    (text,) = optionchecks.check_alone(rows, spans)
    assert text.startswith("unique 0.1 began before unique 0.0")
    spans["0.1", 0] = [3.5, 4.0]
    assert list(optionchecks.check_alone(rows, spans)) == []


def test_the_checks_notice_a_cancel_that_was_not_heeded():
    record = Record("cancelled", Job(os.getpid), Entry())
    rows = [("cancelled 0.0", record)]
    assert list(optionchecks.check_answers(rows)) == [
        "cancelled 0.0 was never cancelled"
    ]
    record.answer, record.entry.effects = "withdrawn", ("x",)
    allowed = optionchecks.allowed_errors(record)
    assert list(
        checks.check_effect("it", "cancelled", record.job, record.entry, allowed)
    )
