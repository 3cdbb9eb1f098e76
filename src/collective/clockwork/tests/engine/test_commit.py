"""What errors of storages mean, and who waits for how long because of them."""

from __future__ import annotations

from collective.clockwork.engine.commit import explained
from collective.clockwork.engine.commit import never_fail
from collective.clockwork.engine.commit import StorageFull
from collective.clockwork.engine.commit import TakenId
from collective.clockwork.engine.commit import try_five_times
from collective.clockwork.engine.commit import wait_for_system_recovery
from collective.clockwork.engine.failure import Failure
from collective.clockwork.engine.failure import isFailure
from collective.clockwork.engine.interfaces import ReassignedError
from collective.clockwork.engine.threadlocal import local
from collective.clockwork.tests.engine.trouble import Trouble
from collective.clockwork.tests.engine.trouble import Waits
from ZEO.Exceptions import ClientDisconnected
from ZEO.Exceptions import ServerException
from ZODB.POSException import ConflictError
from ZODB.POSException import POSKeyError
from ZODB.utils import p64
from ZODB.utils import z64

import errno
import logging
import pickle
import pytest
import transaction


TAKEN = "A different object already has the same oid"
FULL = OSError(errno.ENOSPC, "No space left on device")


def from_server(number, kind="builtins.OSError"):
    return ServerException(kind, (number, "what it said"))


def met_id(serial):
    return ConflictError(oid=p64(7), serials=(p64(9), serial))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_storage_without_room_is_one_that_is_full(number):
    for error in (OSError(number, "no room"), from_server(number)):
        meaning = explained(error, committing=True)
        assert type(meaning) is StorageFull
        assert meaning.__cause__ is error
        assert str(error) in str(meaning)


@pytest.mark.parametrize(
    "error",
    [
        OSError("no mail"),
        OSError(errno.EIO, "broken"),
        PermissionError(errno.EACCES, "forbidden"),
        from_server(errno.EIO),
        from_server(errno.ENOSPC, "builtins.ValueError"),
        ServerException("builtins.OSError", ()),
        ServerException("builtins.OSError", {"errno": errno.ENOSPC}),
        ServerException(),
        ValueError("a value"),
        ConflictError("conflict"),
        met_id(p64(8)),
    ],
)
def test_other_errors_are_what_they_are(error):
    assert explained(error, committing=True) is error


def test_a_full_disk_that_a_job_meets_outside_of_a_commit_is_its_own():
    assert explained(FULL, committing=False) is FULL
    assert type(explained(from_server(FULL.errno), committing=False)) is StorageFull


@pytest.mark.parametrize("error", [ValueError(TAKEN), met_id(z64)])
@pytest.mark.parametrize("committing", [True, False])
def test_a_new_object_whose_id_is_taken_is_a_conflict(error, committing):
    assert type(explained(error, committing)) is TakenId


def test_what_became_clear_can_be_stored_with_a_failure():
    failure = Failure(explained(FULL, committing=True))
    again = pickle.loads(pickle.dumps(failure))
    assert again.check(StorageFull)
    assert "No space left" in again.getTraceback()


@pytest.fixture
def waits(monkeypatch):
    noted = Waits()
    monkeypatch.setattr(local, "stopping", noted)
    return noted


@pytest.fixture
def commit_with():
    """Calls one of the helpers while the coming commits meet these errors."""
    tm = transaction.TransactionManager()

    def commit_with(helper, *errors):
        trouble = Trouble(*errors)
        tm.registerSynch(trouble)
        tm.begin()
        try:
            return helper(lambda: "done", "a test", tm)
        finally:
            tm.unregisterSynch(trouble)
            assert not trouble.errors

    return commit_with


PASSING = [ClientDisconnected("away"), FULL, from_server(FULL.errno), POSKeyError(z64)]


@pytest.mark.parametrize("error", PASSING, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("helper", [never_fail, wait_for_system_recovery])
def test_what_passes_is_waited_for_longer_each_time(
    commit_with, waits, caplog, helper, error
):
    assert commit_with(helper, *[error] * 14) == "done"
    assert waits == [5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60, 60, 60]
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 14


@pytest.mark.parametrize("helper", [never_fail, wait_for_system_recovery])
def test_conflicts_are_not_waited_for(commit_with, waits, helper):
    assert commit_with(helper, *[ConflictError("again")] * 20) == "done"
    assert waits == []


def test_never_fail_reports_another_error_and_tries_again(commit_with, waits, caplog):
    assert commit_with(never_fail, *[ValueError("odd")] * 11) == "done"
    assert waits == [5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55]
    reported = [record.levelno for record in caplog.records]
    assert reported == [logging.CRITICAL] * 2


@pytest.mark.parametrize("helper", [wait_for_system_recovery, try_five_times])
def test_another_error_is_given_back(commit_with, waits, helper):
    assert commit_with(helper, ValueError("odd")).check(ValueError)
    assert waits == []


def test_five_conflicts_are_too_many(commit_with):
    error = ConflictError("again")
    assert commit_with(try_five_times, *[error] * 4) == "done"
    assert commit_with(try_five_times, *[error] * 5).check(ConflictError)


def test_try_five_times_may_leave_the_commit_to_the_caller():
    tm = transaction.TransactionManager()
    trouble = Trouble(ConflictError("at commit"))
    tm.registerSynch(trouble)
    tm.begin()
    result = try_five_times(lambda: "done", "a test", tm, commit=False)
    assert not isFailure(result)
    assert trouble.errors
    tm.abort()


@pytest.mark.parametrize(
    "helper", [never_fail, wait_for_system_recovery, try_five_times]
)
@pytest.mark.parametrize("error", [ReassignedError, SystemExit])
def test_nobody_holds_back_what_ends_a_thread(commit_with, helper, error):
    with pytest.raises(error):
        commit_with(helper, error("gone"))
