"""Storages whose commits go wrong at one step, and a story to try them on."""

from __future__ import annotations

from BTrees.OOBTree import OOBTree
from collections.abc import Callable
from collective.clockwork.engine.commit import ClientDisconnected
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.tests.engine import model
from collective.clockwork.tests.engine.stepping import Killed
from collective.clockwork.tests.engine.stepping import Process
from contextlib import contextmanager
from pathlib import Path
from ZODB.FileStorage import FileStorage

import logging
import os
import shutil
import sys
import transaction
import ZODB


#: In the order of a commit; "finish" is before it took effect, "finished"
#: after that, when the answer is lost.
STEPS = ["begin", "store", "vote", "voted", "finish", "finished"]


#: In the short form every so manieth commit gets the fault, another one for
#: each step; in the long form all of them.
STRIDE = 1 if os.environ.get("CLOCKWORK_ALL_FAULTS") else 4


def sample(step: str, kill: bool) -> slice:
    """Which of the commits are tried with a fault at this step."""
    return slice((STEPS.index(step) + 2 * kill) % STRIDE, None, STRIDE)


@contextmanager
def surroundings(monkeypatch):
    """Quick and quiet: no power fails here, and of faults there are many."""
    monkeypatch.setattr(sys.modules[FileStorage.__module__], "fsync", None)
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        participants.clear()
        logging.disable(logging.NOTSET)


class Fault:
    """Lets one commit of a story fail, or the process die in it.

    ``commit`` counts from 0; ``position`` is that of the storage among those
    of the commit. Without a ``step`` nothing fails, and ``commits`` says what
    the story consists of.
    """

    def __init__(self, step: str | None = None, commit=0, position=0, kill=False):
        self.step = step
        self.commit = commit
        self.position = position
        self.kill = kill
        self.armed = False
        self.happened = False
        #: Whether the process is dead: its storages answer no more.
        self.dead = False
        #: Names of the storages of each commit, in their order.
        self.commits: list[list[str]] = []
        #: What is on disk at the moment of death.
        self.image: Path | None = None
        self._beginning = False

    def at(self, storage: FaultyStorage, step: str) -> None:
        """Called by a storage that has come to this step of a commit."""
        if self.dead:
            raise Killed()
        if not self.armed:
            return
        if step == "begin":
            if not self._beginning:
                self.commits.append([])
            self.commits[-1].append(storage.label)
        self._beginning = step == "begin"
        if self.happened or step != self.step or len(self.commits) - 1 != self.commit:
            return
        if self.commits[-1].index(storage.label) != self.position:
            return
        self.happened = True
        self._beginning = False
        if self.kill:
            folder = Path(storage.getName()).parent
            self.image = folder.with_name(f"{folder.name}-image")
            shutil.copytree(folder, self.image)
            self.dead = True
            raise Killed()
        if step == "finished":
            raise ClientDisconnected("the answer was lost")
        raise OSError(f"a fault at {step}")


class FaultyStorage(FileStorage):
    """A FileStorage that asks a Fault at each step."""

    def __init__(self, folder: Path, label: str, fault: Fault):
        super().__init__(str(folder / f"{label}.fs"))
        self.label = label
        self.fault = fault

    def tpc_begin(self, txn, *args, **kwargs):
        self.fault.at(self, "begin")
        return super().tpc_begin(txn, *args, **kwargs)

    def store(self, oid, serial, data, version, txn):
        self.fault.at(self, "store")
        return super().store(oid, serial, data, version, txn)

    def tpc_vote(self, txn):
        self.fault.at(self, "vote")
        answer = super().tpc_vote(txn)
        self.fault.at(self, "voted")
        return answer

    def tpc_finish(self, txn, *args):
        self.fault.at(self, "finish")
        answer = super().tpc_finish(txn, *args)
        self.fault.at(self, "finished")
        return answer


def opener(folder: Path, fault: Fault, labels: tuple) -> Callable:
    """Opens the databases of these names; the first is the main one."""

    def open_all():
        folder.mkdir(exist_ok=True)
        databases: dict = {}
        for label in labels:
            storage = FaultyStorage(folder, label, fault)
            ZODB.DB(storage, pool_size=100, database_name=label, databases=databases)
        return databases[labels[0]]

    return open_all


class Story:
    """Jobs of all kinds are queued, begun by one process, ended by another."""

    def __init__(self, folder: Path, fault: Fault, labels: tuple = ("main",)):
        self.fault = fault
        self.labels = labels
        self.queues_in = labels[1] if len(labels) > 1 else None
        self.world = self._open(folder, fault)

    def _open(self, folder: Path, fault: Fault) -> model.World:
        world = model.World(opener(folder, fault, self.labels), self.queues_in)
        world.passing = (Exception,)
        for process in world.processes:
            process.passing = (Exception,)
        return world

    def tell(self) -> None:
        """The story up to its end, or to the death of the process."""
        self.world.connection.root()["content"] = OOBTree()
        self.world.tm.commit()
        self.fault.armed = True
        try:
            self._queue()
            self._take_notice()
            first, second = self.world.processes
            self._poll(first, 30)
            first.start_work()
            first.work(0)
            first.kill()
            self._take_over(first)
            for _ in range(8):
                self._poll(second, 30)
                second.go_on()
                self._take_notice()
                self.world.pass_time(1)
        except Killed:
            self.world.tm.abort()

    def _queue(self) -> None:
        """Queue all; after an error look, and do it again if nothing is there."""
        try:
            self._queue_all()
        except (OSError, ClientDisconnected):
            self._take_notice()
            if not self.world.accepted:
                self._queue_all()

    def _queue_all(self) -> None:
        """All in one transaction, together with the content that they are of."""
        manager = transaction.TransactionManager()
        connection = self.world.db.open(manager)
        root = connection.root()
        try:
            for number, kind in enumerate(model.KINDS):
                names = (model.ORDERED,) if number % 2 else ()
                job = model.make_job(root, kind, kind, names, odd=number % 3 == 0)
                callback = model.Job(model.effect, root["ledger"], f"{kind} callback")
                job.addCallback(callback)
                root[KEY][""].put(job)
                root["content"][kind] = job
            manager.commit()
        finally:
            manager.abort()
            connection.close()

    def _take_notice(self) -> None:
        if self.fault.dead:
            raise Killed()
        notice(self.world)
        self.world.check()

    def _poll(self, process: Process, steps: int) -> None:
        for _ in range(steps):
            process.poll()
            if process.poller is None:
                return

    def _take_over(self, process: Process) -> None:
        """As the others do when it is silent, until it works."""
        world = self.world
        while True:
            self._take_notice()
            agents = world.queue.dispatchers[process.uuid]
            if not agents.activated:
                return
            try:
                agents.deactivate()
                world.tm.commit()
            except (OSError, ClientDisconnected):
                world.tm.abort()

    def reopen(self) -> None:
        """Open what is on disk after the death of the process."""
        self.world.close()
        self.world = self._open(self.fault.image, Fault())

    def recover(self) -> model.World:
        """What is there when others have done the rest, and all is checked."""
        self.fault.armed = False
        if self.fault.dead:
            self.reopen()
        notice(self.world)
        self.world.settle()
        self.world.tm.begin()
        return self.world

    def close(self) -> None:
        self.world.close()


class Participant:
    """Something else in a transaction, as a mailer is, that fails at a step."""

    transaction_manager = None

    def __init__(self, step: str, first: bool, error: Exception):
        self.step = step
        self.first = first
        self.error = error

    def sortKey(self):
        return "" if self.first else "~"

    def _at(self, step: str) -> None:
        if step == self.step:
            raise self.error

    def tpc_begin(self, txn):
        self._at("begin")

    def commit(self, txn):
        self._at("store")

    def tpc_vote(self, txn):
        self._at("vote")

    def tpc_finish(self, txn):
        self._at("finish")

    def abort(self, txn):
        """Nothing to undo."""

    def tpc_abort(self, txn):
        """Nothing to undo."""


#: Participants that the next transactions of jobs have.
participants: list[Participant] = []


def effect_with_participant(ledger, name):
    if participants:
        ledger._p_jar.transaction_manager.get().join(participants.pop(0))
    return model.effect(ledger, name)


def notice(world: model.World) -> None:
    """Note what was accepted: the jobs whose content is there."""
    world.tm.begin()
    content = world.connection.root().get("content", {})
    world.accepted = [
        model.Accepted(kind, job._p_oid, job.quota_names)
        for kind, job in content.items()
    ]
    # They were queued in the order of the list.
    world.accepted.sort(key=lambda accepted: model.KINDS.index(accepted.name))


def plan(folder: Path, labels: tuple = ("main",)) -> list[list[str]]:
    """The commits of the story when nothing goes wrong."""
    fault = Fault()
    story = Story(folder, fault, labels)
    try:
        story.tell()
        story.recover()
    finally:
        story.close()
    return fault.commits


def tell_and_recover(folder: Path, fault: Fault, labels: tuple = ("main",)) -> None:
    """Tell a story in which this fault happens, and find all in order behind it."""
    story = Story(folder, fault, labels)
    try:
        story.tell()
        assert fault.happened, f"no fault in commit {fault.commit}"
        story.recover()
    except AssertionError as error:
        raise AssertionError(
            f"after a fault in commit {fault.commit}: {error}"
        ) from error
    finally:
        story.close()
