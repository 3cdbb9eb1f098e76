"""The ledger: what was queued, and what came of it."""

from __future__ import annotations

from chaos import jobs
from chaos import optionjobs
from chaos import plan
from collective.clockwork.engine import clock
from collective.clockwork.engine.compose import parallel
from collective.clockwork.engine.compose import serial
from collective.clockwork.engine.errors import DuplicateJobError
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.job import Job
from datetime import timedelta
from persistent import Persistent

import BTrees
import transaction


#: Key of the ledger in the root: a tree of records for each producer.
LEDGER = "chaos"
#: Key in the root of the line that all jobs of the quota "line" pass.
LINE = "chaos line"
FUNCTIONS = {
    "failing": jobs.write_and_fail,
    "wobbly": jobs.write_and_wobble,
    "unstorable": jobs.write_unstorable,
    "large": jobs.write_large,
    "poison": jobs.kill_own_process,
    "grouped failing": jobs.write_and_fail,
    "stoppable": optionjobs.write_until_stopped,
    "overdue": optionjobs.write_until_stopped,
    "hanging": optionjobs.hang_and_write,
}
#: Kind of job to its retry policy.
POLICIES = {"wobbly": jobs.Patience, "poison": optionjobs.Impatient}
#: Kind of job to the options that it is queued with.
OPTIONS = {
    "grouped": {"groupable": True},
    "grouped failing": {"groupable": True},
    "overdue": {"timeout": timedelta(seconds=0.3)},
    "hanging": {"timeout": timedelta(seconds=0.5)},
}
#: Key of a unique job to its options.
UNIQUE = {
    "refuse": {},
    "drop": {"on_duplicate": "drop"},
    "replace": {"on_duplicate": "replace"},
    "debounce": {"debounce": timedelta(seconds=0.3)},
}
#: Kinds of jobs that the producer cancels.
CANCELLED = ("cancelled", "stoppable")
#: What became of a job that its queue did not take.
NOT_QUEUED = ("refused", "dropped")


class Record(Persistent):
    """A row of the ledger: a job, and the entries that it and its parts make."""

    #: What the queue said to a cancel; or why it did not take the job.
    answer: str | None = None
    #: Of a unique job.
    key: str | None = None
    #: Item of a resumable job to how often its effect is there.
    tally = None

    def __init__(self, kind: str, job: Job, entry: jobs.Entry):
        self.kind = kind
        self.job = job
        self.entry = entry
        #: Pairs of job and entry: the members of a batch and its end, or the
        #: callback of a job.
        self.parts: tuple = ()


def make(row: plan.Row, line: jobs.Line, key: str) -> Record:
    """The record of a row, with a job that can be queued."""
    entry = jobs.Entry()
    if row.kind in ("serial", "parallel"):
        return make_batch(row, entry)
    if row.kind in FUNCTIONS:
        job = Job(FUNCTIONS[row.kind], entry)
        job.retry_policy_factory = POLICIES.get(row.kind)
    elif row.kind == "line":
        job = Job(jobs.write_in_line, entry, line, key, row.seconds)
    elif row.kind == "async":
        job = Job(optionjobs.write_async, entry, row.seconds)
    elif row.kind == "unique":
        job = Job(optionjobs.write_alone, entry, key, row.seconds)
    elif row.kind == "resumable":
        tally = BTrees.family64.II.BTree()
        job = Job(optionjobs.write_each, entry, tally, key)
    else:
        job = Job(jobs.write, entry, row.seconds)
    if row.kind in ("line", "pair"):
        job.quota_names = (row.kind,)
    record = Record(row.kind, job, entry)
    if row.kind == "resumable":
        record.tally = tally
    elif row.kind == "unique":
        record.key = row.key
    elif row.kind == "callback":
        after = jobs.Entry()
        record.parts = ((job.addCallback(Job(jobs.called_back, after)), after),)
    return record


def make_batch(row: plan.Row, entry: jobs.Entry) -> Record:
    """The record of a batch; its own entry is made by its end."""
    line = jobs.Line()
    parts = []
    for number in range(plan.MEMBERS):
        part = jobs.Entry()
        if row.kind == "serial":
            job = Job(jobs.write_in_line, part, line, f"part {number}", row.seconds)
        else:
            job = Job(jobs.write, part, row.seconds)
        parts.append((job, part))
    end = Job(jobs.batch_done, entry)
    compose = serial if row.kind == "serial" else parallel
    record = Record(
        row.kind, compose(*(job for job, _ in parts), postprocess=end), entry
    )
    record.parts = tuple(parts)
    return record


def put(root, number: int, position: int, row: plan.Row) -> None:
    """Queue a row, and enter it into the ledger; commits."""
    transaction.begin()
    records = root[LEDGER][number]
    if position in records:
        # The commit of an earlier try landed though its answer was lost.
        return
    record = make(row, root[LINE], f"{number}.{position}")
    after = None
    if row.delay:
        after = clock.now() + timedelta(seconds=row.delay)
    try:
        queued = root[KEY][""].put(record.job, begin_after=after, **options_of(row))
    except DuplicateJobError:
        record.answer = "refused"
    else:
        if queued is not record.job:
            record.answer = "dropped"
    records[position] = record
    transaction.commit()


def options_of(row: plan.Row) -> dict:
    """The options that the job of a row is queued with."""
    options = dict(OPTIONS.get(row.kind, {}))
    if row.kind == "unique":
        options.update(UNIQUE[row.key], unique=row.key)
    if row.priority:
        options["priority"] = row.priority
    return options


def cancel(root, number: int, position: int) -> None:
    """Cancel the job of a row, and enter what the queue says to that; commits."""
    transaction.begin()
    record = root[LEDGER][number][position]
    if record.answer is None:
        record.answer = root[KEY][""].cancel(record.job, "producer", "as planned")
    transaction.commit()
