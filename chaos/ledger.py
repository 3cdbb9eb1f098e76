"""The ledger: what was queued, and what came of it."""

from __future__ import annotations

from chaos import jobs
from chaos import plan
from collective.clockwork.engine import clock
from collective.clockwork.engine.compose import parallel
from collective.clockwork.engine.compose import serial
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.job import Job
from datetime import timedelta
from persistent import Persistent

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
}


class Record(Persistent):
    """A row of the ledger: a job, and the entries that it and its parts make."""

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
        if row.kind == "wobbly":
            job.retry_policy_factory = jobs.Patience
    elif row.kind == "line":
        job = Job(jobs.write_in_line, entry, line, key, row.seconds)
    else:
        job = Job(jobs.write, entry, row.seconds)
    if row.kind in ("line", "pair"):
        job.quota_names = (row.kind,)
    record = Record(row.kind, job, entry)
    if row.kind == "callback":
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
    root[KEY][""].put(record.job, begin_after=after)
    records[position] = record
    transaction.commit()
