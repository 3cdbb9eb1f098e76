"""Stand-ins at the edges of the engine: commits that fail, waits that are noted."""

from __future__ import annotations

from ZODB.POSException import ConflictError
from ZODB.POSException import POSKeyError


class Trouble:
    """Makes coming commits of a transaction manager fail; register as a synch.

    Each commit takes the next error; with none left, commits work.
    """

    def __init__(self, *errors):
        self.errors = list(errors)
        self.raised = 0

    def newTransaction(self, txn):
        txn.addBeforeCommitHook(self._raise_next)

    def beforeCompletion(self, txn):
        """Part of the protocol of synchronizers."""

    def afterCompletion(self, txn):
        """Part of the protocol of synchronizers."""

    def _raise_next(self):
        if self.errors:
            self.raised += 1
            raise self.errors.pop(0)


class TroubleAt(Trouble):
    """Lets one commit fail, after ``position`` that work."""

    def __init__(self, position, error):
        super().__init__(error)
        self.position = position

    def _raise_next(self):
        self.position -= 1
        if self.position < 0:
            super()._raise_next()


class Waits(list):
    """Takes the place of a dispatcher's stop: notes waits instead of waiting."""

    def wait(self, seconds):
        if seconds >= 1:
            self.append(seconds)
        return False

    def is_set(self):
        return False


class BeforeCompletion:
    """Acts once, in the transaction that is about to complete a job."""

    def __init__(self, job, act):
        self.job = job
        self.act = act
        self.done = False

    def newTransaction(self, txn):
        txn.addBeforeCommitHook(self._look)

    def beforeCompletion(self, txn):
        """Part of the protocol of synchronizers."""

    def afterCompletion(self, txn):
        """Part of the protocol of synchronizers."""

    def _look(self):
        if self.job._status == 3 and not self.done:
            self.done = True
            self.act()


def without_record(load_before, missing):
    """A ``loadBefore`` that does not find one object."""

    def load(self, oid, tid):
        if oid == missing:
            raise POSKeyError(oid)
        return load_before(self, oid, tid)

    return load


def commit_again(connection, act):
    """Commits; after a conflict does ``act`` in a new transaction and commits."""
    manager = connection.transaction_manager
    try:
        manager.commit()
    except ConflictError:
        manager.abort()
        manager.begin()
        act(connection)
        manager.commit()
