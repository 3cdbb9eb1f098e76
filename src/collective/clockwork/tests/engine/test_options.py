"""Options: what is wrong is refused, with the value and the remedy, and not stored."""

from __future__ import annotations

from collective.clockwork.engine.errors import OptionError
from collective.clockwork.engine.interfaces import BadStatusError
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.options import apply
from collective.clockwork.engine.options import check_together
from collective.clockwork.engine.options import HIGHEST
from collective.clockwork.engine.options import KEY_LENGTH
from collective.clockwork.engine.options import LONGEST
from collective.clockwork.engine.options import LOWEST
from collective.clockwork.engine.options import NAMES
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine.optional import job_with
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies

import pytest
import transaction


SECOND = timedelta(seconds=1)
DEFAULTS = {
    "priority": 0,
    "timeout": None,
    "groupable": False,
    "unique": None,
    "on_duplicate": "refuse",
    "debounce": None,
    "keep_result": None,
    "keep_failure": None,
}
GOOD = {
    "priority": [LOWEST, -1, 0, HIGHEST],
    "timeout": [None, timedelta(microseconds=1), SECOND, LONGEST],
    "groupable": [True, False],
    "unique": [None, "k", "k" * KEY_LENGTH, "schlüssel \ud800"],
    "on_duplicate": ["refuse", "drop", "replace"],
    "debounce": [None, SECOND],
    "keep_result": [None, timedelta(), SECOND],
    "keep_failure": [None, timedelta(), SECOND],
}
BAD = {
    "priority": [LOWEST - 1, HIGHEST + 1, 1.0, "1", None, True],
    "timeout": [timedelta(), -SECOND, LONGEST + SECOND, timedelta.max, 5, "5s"],
    "groupable": [None, 1, "yes"],
    "unique": ["", b"k", 1, "k" * (KEY_LENGTH + 1), ("k",)],
    "on_duplicate": [None, "ignore", "", True, ["drop"]],
    "debounce": [timedelta(), -SECOND, 1, timedelta.max],
    "keep_result": [-SECOND, 0, timedelta.max, "week"],
    "keep_failure": [-SECOND, 0, timedelta.max, "week"],
}


def cases(table: dict) -> list:
    return [(name, value) for name, values in table.items() for value in values]


class Label(str):
    """A text with a class of its own, as messages to be translated have."""


class Rude:
    """Its repr fails."""

    def __repr__(self):
        raise RuntimeError("no repr")


def test_the_tables_here_know_all_options():
    assert set(NAMES) == set(DEFAULTS) == set(GOOD) == set(BAD)


def test_a_job_has_defaults_that_take_no_byte():
    job = Job(work.answer)
    plain = set(job.__getstate__())
    assert {name: getattr(job, name) for name in NAMES} == DEFAULTS
    apply(job, DEFAULTS)
    assert set(job.__getstate__()) == plain


@pytest.mark.parametrize("name, value", cases(GOOD))
def test_a_good_value_is_kept(name, value):
    job = Job(work.answer)
    setattr(job, name, value)
    assert getattr(job, name) == value
    setattr(job, name, DEFAULTS[name])
    assert getattr(job, name) == DEFAULTS[name]


@pytest.mark.parametrize("name, value", cases(BAD))
def test_a_bad_value_is_refused_and_named(name, value):
    job = job_with(**{name: GOOD[name][-1]})
    with pytest.raises(OptionError, match=f"^{name} is ") as caught:
        setattr(job, name, value)
    assert getattr(job, name) == GOOD[name][-1]
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [Rude(), "x" * 1_000_000, b"x" * 1_000_000])
def test_the_message_is_short_whatever_the_value(name, value):
    with pytest.raises(OptionError) as caught:
        job_with(**{name: value})
    assert len(str(caught.value)) < 500


def test_the_message_names_the_bounds():
    with pytest.raises(OptionError, match="priority is 101: .* from -100 to 100"):
        job_with(priority=101)
    with pytest.raises(OptionError, match="one of 'refuse', 'drop', 'replace'"):
        job_with(on_duplicate="skip")
    with pytest.raises(OptionError, match="timeout is .*: it must be longer than not"):
        job_with(timeout=timedelta())


def test_of_a_text_the_class_is_not_kept():
    job = job_with(unique=Label("k"), on_duplicate=Label("drop"))
    assert type(job.unique) is str
    assert type(job.on_duplicate) is str


@pytest.mark.parametrize(
    "wrong, nearest",
    [
        ("prio", "priority"),
        ("Priority", "priority"),
        ("time_out", "timeout"),
        ("uniqe", "unique"),
        ("begin_afer", "begin_after"),
        ("keep_results", "keep_result"),
        ("keep_failures", "keep_failure"),
        ("retry_policy", "retry_policy_factory"),
    ],
)
def test_an_unknown_option_is_refused_with_the_nearest_one(wrong, nearest):
    with pytest.raises(OptionError, match=f"{wrong!r} .*did you mean {nearest!r}"):
        job_with(**{wrong: 1})


def test_an_unknown_option_like_none_is_refused_with_all():
    with pytest.raises(OptionError, match="known are: begin_after, begin_by, debounce"):
        job_with(zzz=1)


@pytest.mark.parametrize("bad", [{"timeout": -SECOND}, {"zzz": 1}])
def test_if_one_option_is_wrong_none_is_set(bad):
    job = Job(work.answer)
    with pytest.raises(OptionError):
        apply(job, {"priority": 5, **bad})
    assert job.priority == 0


def test_options_of_a_queued_job_cannot_be_set(queue):
    job = queue.put(job_with(priority=5))
    transaction.commit()
    with pytest.raises(BadStatusError, match="priority of a job cannot be set"):
        job.priority = 6
    with pytest.raises(BadStatusError):
        apply(job, {"unique": "k"})
    assert (job.priority, job.unique) == (5, None)


def test_options_are_there_after_a_commit(queue, elsewhere):
    options = {name: values[-1] for name, values in GOOD.items()}
    job = queue.put(job_with(**options))
    transaction.commit()
    fresh = elsewhere().get(job._p_oid)
    assert {name: getattr(fresh, name) for name in NAMES} == options


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"unique": "k"},
        {"unique": "k", "on_duplicate": "replace"},
        {"unique": "k", "debounce": SECOND},
        {"unique": "k", "debounce": SECOND, "on_duplicate": "replace"},
        {"groupable": True, "unique": "k", "priority": 5},
    ],
)
def test_options_that_go_together(options):
    job = job_with(**options)
    check_together(job)
    assert {name: getattr(job, name) for name in options} == options


@pytest.mark.parametrize(
    "options, message",
    [
        ({"debounce": SECOND}, "debounce needs unique"),
        ({"on_duplicate": "drop"}, "on_duplicate='drop' needs unique"),
        ({"on_duplicate": "replace"}, "on_duplicate='replace' needs unique"),
        (
            {"unique": "k", "debounce": SECOND, "on_duplicate": "drop"},
            "debounce and on_duplicate='drop' contradict",
        ),
        ({"groupable": True, "timeout": SECOND}, "groupable and timeout contradict"),
    ],
)
def test_options_that_contradict_each_other(options, message):
    with pytest.raises(OptionError, match=message):
        check_together(job_with(**options))


def test_debounce_and_a_time_to_begin_contradict_each_other():
    job = job_with(unique="k", debounce=SECOND)
    job.begin_after = datetime(2030, 1, 1, tzinfo=timezone.utc)
    with pytest.raises(OptionError, match="debounce and begin_after contradict"):
        check_together(job)


def test_a_debounced_job_that_was_taken_out_may_be_queued_again(queue):
    job = queue.put(job_with(unique="k", debounce=SECOND))
    queue.remove(job)
    check_together(job)
    assert job.begin_after == job.queued_at + SECOND


@settings(deadline=None, database=None)
@given(
    strategies.dictionaries(
        strategies.sampled_from(NAMES),
        strategies.one_of(
            strategies.none(),
            strategies.booleans(),
            strategies.integers(),
            strategies.sampled_from(["", "k", "drop", "replace", "\ud800"]),
            strategies.timedeltas(),
        ),
    )
)
def test_options_are_either_kept_as_given_or_refused(options):
    job = Job(work.answer)
    try:
        apply(job, options)
    except OptionError:
        options = DEFAULTS
    assert {name: getattr(job, name) for name in options} == options
