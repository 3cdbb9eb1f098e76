"""What must hold at the end for jobs with options, and for those with a loop."""

from __future__ import annotations

from chaos.ledger import CANCELLED
from chaos.ledger import NOT_QUEUED
from chaos.ledger import Record
from chaos.optionjobs import COMMIT_EVERY
from chaos.optionjobs import ITEMS
from collections import defaultdict
from collections.abc import Iterable
from collections.abc import Iterator
from pathlib import Path


#: Error of a job that was cancelled, or withdrawn for another.
WITHDRAWN = "CancelledError"


def allowed_errors(record: Record) -> set:
    """Names of errors, None for success, that a job of a row may end with."""
    if record.kind == "unique":
        return {None, WITHDRAWN} if record.key in ("replace", "debounce") else {None}
    if record.kind == "stoppable":
        return {WITHDRAWN}
    if record.kind == "cancelled":
        expected = {"withdrawn": {WITHDRAWN}, "late": {None}}
        return expected.get(record.answer, {None, WITHDRAWN})
    return {None}


def check_answers(rows: Iterable[tuple[str, Record]]) -> Iterator[str]:
    """Whoever was to be cancelled was; what was not queued has done nothing."""
    for name, record in rows:
        if record.kind in CANCELLED and record.answer is None:
            yield f"{name} was never cancelled"
        if record.answer in NOT_QUEUED and record.entry.effects:
            yield f"{name} was {record.answer}, and has {record.entry.effects}"


def check_loops(
    rows: Iterable[tuple[str, Record]], directory: Path, completed
) -> Iterator[str]:
    """The effect of each item is there once, and few were visited twice.

    ``completed`` says of a job whether it is.
    """
    visits = read_visits(directory)
    for name, record in rows:
        if record.kind != "resumable":
            continue
        if any(count != 1 for count in record.tally.values()):
            yield f"{name} has items with several effects: {dict(record.tally)}"
        done = list(record.tally)
        if done != list(range(len(done))):
            yield f"{name} has left out items: {done}"
        if completed(record.job) and len(done) != ITEMS:
            yield f"{name} is completed, and only {len(done)} items are done"
        yield from check_visits(name, visits[name.rpartition(" ")[2]], len(done))


def check_visits(name: str, calls: dict, done: int) -> Iterator[str]:
    """No more was done again than what each interruption left uncommitted."""
    parts = 0
    for items in calls.values():
        parts += 1
        for before, after in zip(items, items[1:], strict=False):
            if after == before + 1:
                continue
            # A commit that did not work: its items are given once more.
            parts += 1
            if not before - COMMIT_EVERY < after <= before:
                yield f"{name} went from item {before} to {after}"
    count = sum(map(len, calls.values()))
    if count > done + COMMIT_EVERY * parts:
        yield f"{name} visited {count} items for {done}, in {parts} parts"


def read_visits(directory: Path) -> dict:
    """Key of a row to its calls, and each call to its items in order."""
    found: dict = defaultdict(lambda: defaultdict(list))
    for path in directory.glob("each-*.txt"):
        for line in path.read_text().splitlines():
            words = line.split()
            # The last line of a killed process may be half of one.
            if len(words) == 4:
                found[words[0]][words[1]].append(int(words[2]))
    return found


def check_alone(rows: Iterable[tuple[str, Record]], spans: dict) -> Iterator[str]:
    """No two jobs of one unique key were at work at once, of those that committed.

    A debounced job may begin while the one before it runs. ``spans`` is what
    ``checks.read_spans`` gives.
    """
    by_key: dict[str, list] = defaultdict(list)
    for name, record in rows:
        if record.kind != "unique" or record.key == "debounce":
            continue
        if record.entry.effects:
            span = spans[name.rpartition(" ")[2], record.entry.attempt]
            by_key[record.key].append(
                (min(span, default=0), max(span, default=0), name)
            )
    for key, found in by_key.items():
        found.sort()
        for (_begun, ended, first), (begun, _ended, second) in zip(
            found, found[1:], strict=False
        ):
            if begun < ended:
                yield f"{second} began before {first} of the key {key!r} had ended"
