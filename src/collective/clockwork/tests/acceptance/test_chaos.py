"""The checks of ``make chaos`` notice what they are for."""

from __future__ import annotations

from chaos import checks
from chaos.jobs import Entry
from chaos.ledger import LEDGER
from chaos.ledger import Record
from collective.clockwork.engine.job import Job

import os
import pytest


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
    assert list(checks.check_overlap(line, tmp_path)) == []


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
    (text,) = checks.check_overlap(line, tmp_path)
    assert text == "line 0.1 began before line 0.0 had ended"


def test_the_checks_let_an_attempt_run_on_that_was_taken_over(line, tmp_path):
    line[LEDGER][0][0].entry.attempt = 1
    note(
        tmp_path,
        *("1.0 begin 0.0 0", "1.5 begin 0.0 1", "2.0 end 0.0 1"),
        *("3.0 begin 0.1 0", "3.5 end 0.0 0", "4.0 end 0.1 0"),
    )
    assert list(checks.check_overlap(line, tmp_path)) == []
