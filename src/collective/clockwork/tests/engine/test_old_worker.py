"""A worker with the code from before there were options runs what is queued with them.

That code cannot be shipped, so what it does is done here: its names of attributes by
number, its classes, and a Job that knows no options.
"""

from __future__ import annotations

from BTrees.OOBTree import OOBTree
from collective.clockwork.engine.deaths import Death
from collective.clockwork.engine.deaths import Evidence
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.jobstate import NAMES
from collective.clockwork.engine.testing import drain
from collective.clockwork.tests.engine import oldworker
from collective.clockwork.tests.engine import optional
from datetime import timedelta
from ZODB.broken import find_global

import pickletools
import pytest
import transaction
import ZODB


#: The names that had a number then.
OLD_NAMES = (
    *("_callable", "_args", "_parent", "_queued", "_status", "_active_start"),
    *("_active_end", "_result", "_kwargs", "_quota_names", "_method", "_callbacks"),
    *("_begin_after", "_nth", "_assigner", "_annotations"),
)
#: What a job's record may be made of that there was not.
NEW_CLASSES = {"collective.clockwork.engine.deaths Evidence"}
MINUTE = timedelta(minutes=1)

NEW_ATTRIBUTES = oldworker.UNKNOWN[Job]


class OldJob(Job):
    """Does not know what the options in its record are, and keeps them."""

    def __setstate__(self, state):
        super().__setstate__(state)
        self.__dict__["kept"] = {
            name: self.__dict__.pop(name)
            for name in NEW_ATTRIBUTES & set(self.__dict__)
        }

    def __getstate__(self):
        kept = self.__dict__.pop("kept", {})
        self.__dict__.update(kept)
        try:
            return super().__getstate__()
        finally:
            for name in kept:
                del self.__dict__[name]
            self.__dict__["kept"] = kept


class OldDB(ZODB.DB):
    """Has the classes of that code; others are broken."""

    def classFactory(self, connection, module, name):
        """As in DB."""
        if (module, name) == (Job.__module__, "Job"):
            return OldJob
        if f"{module} {name}" in NEW_CLASSES:
            return find_global(f"gone.{module}", name)
        return super().classFactory(connection, module, name)


@pytest.fixture
def jobs(root, queue):
    """A job with each option, and what a death and a loop leave in one."""
    root["done"] = OOBTree()
    queue.quotas.create("one")
    options = {
        "priority": {"priority": 7},
        "timeout": {"timeout": MINUTE},
        "groupable": {"groupable": True},
        "unique": {"unique": "key", "on_duplicate": "drop"},
        "debounce": {"unique": "other", "debounce": timedelta(microseconds=1)},
        "keep": {"keep_result": MINUTE, "keep_failure": timedelta()},
        "disturbed": {},
    }
    made = {}
    for name, chosen in options.items():
        made[name] = Job(optional.count_in, root["done"], name)
        made[name].quota_names = ("one",)
        queue.put(made[name], **chosen)
    disturbed = made["disturbed"]
    disturbed._suspect, disturbed._begun_attempt = 2, 0
    disturbed._begun_thread = "a thread"
    disturbed._deaths = Evidence()
    disturbed._deaths.add(Death(1, "a worker"))
    disturbed._cursors = {("", 1): (3, None, False)}
    transaction.commit()
    return made


def record(job) -> bytes:
    return job._p_jar.db().storage.load(job._p_oid)[0]


def test_its_names_by_number_are_the_same_and_no_other_is_used(jobs):
    assert NAMES[: len(OLD_NAMES)] == OLD_NAMES
    for job in jobs.values():
        numbers = [name for name in job.__getstate__() if type(name) is int]
        assert max(numbers) < len(OLD_NAMES)


def test_all_classes_in_the_records_are_known_or_only_referred_to(jobs):
    known = {"collective.clockwork.engine.job Job", "BTrees.OOBTree OOBTree"}
    known |= {"collective.clockwork.engine.queue Queue"}
    found = set()
    for job in jobs.values():
        for operation, argument, _position in pickletools.genops(record(job)[2:]):
            if operation.name == "GLOBAL":
                found.add(argument)
    assert found - known <= NEW_CLASSES


def test_a_job_that_knows_no_options_is_run_and_keeps_them(jobs, db):
    drain(OldDB(db.storage))
    connection = ZODB.DB(db.storage).open()
    assert list(connection.root()["done"].items()) == [
        (name, 1) for name in sorted(jobs)
    ]
    for name in jobs:
        jobs[name] = job = connection.get(jobs[name]._p_oid)
        assert (job._status, job.result) == (3, name)
    assert jobs["priority"].kept == {"_priority": 7}
    assert jobs["groupable"].kept == {"_groupable": True}
    assert jobs["unique"].kept == {"_unique": "key", "_on_duplicate": "drop"}
    assert set(jobs["keep"].kept) == {"_keep_result", "_keep_failure"}
    assert {"_suspect", "_begun_thread", "_deaths"} <= set(jobs["disturbed"].kept)
    connection.close()


def test_the_stand_in_really_has_no_options(jobs, db):
    connection = OldDB(db.storage).open()
    found = connection.get(jobs["priority"]._p_oid)
    assert (type(found), found._priority) == (OldJob, 0)
    assert found.kept == {"_priority": 7}
    connection.close()
