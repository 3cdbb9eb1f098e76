"""Jobs that the tests of groups run."""

from __future__ import annotations

from collective.clockwork.engine import context
from collective.clockwork.engine import groups
from collective.clockwork.engine import local
from collective.clockwork.engine import pool as pools
from collective.clockwork.engine.failure import Failure
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.outcomes import Snooze
from collective.clockwork.engine.testing import wait_for_result
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine import zeoprocess
from collective.clockwork.tests.engine.dispatching import pool_of
from collective.clockwork.tests.engine.dispatching import wait_for_agents
from datetime import timedelta
from pathlib import Path
from transaction.interfaces import TransientError

import os
import signal
import sys
import transaction


#: Seconds within which everything here must have happened.
PATIENCE = 20
#: How to run a worker whose groups do not depend on how fast it is.
PROGRAM = zeoprocess.program("collective.clockwork.tests.engine.grouping")


def note(ledger, name):
    """Notes it, and how often it was called."""
    work.calls[name] = work.calls.get(name, 0) + 1
    ledger.note(name)
    return name


def manager():
    """The transaction manager of the running job."""
    return local.getJob()._p_jar.transaction_manager


def note_and_fail(ledger, name):
    note(ledger, name)
    raise ValueError(name)


def note_and_fail_once(ledger, name):
    note(ledger, name)
    if work.calls[name] == 1:
        raise TransientError(name)
    return name


def note_and_return_job(ledger, name):
    note(ledger, name)
    return local.getQueue().put(Job(work.mirror, "inner"))


def note_and_snooze_once(ledger, name):
    note(ledger, name)
    return Snooze(timedelta(milliseconds=1)) if work.calls[name] <= 2 else name


def note_and_return_failure(ledger, name):
    note(ledger, name)
    return Failure(ValueError(name))


def note_and_exit_once(ledger, name):
    note(ledger, name)
    if work.calls[name] == 1:
        raise SystemExit(name)
    return name


def note_and_commit(ledger, name):
    note(ledger, name)
    manager().commit()
    ledger.note(f"{name} again")
    return name


def note_abort_and_note(ledger, name):
    note(ledger, f"{name} lost")
    manager().abort()
    return note(ledger, name)


def commit_and_fail(ledger, name):
    note(ledger, name)
    manager().commit()
    raise ValueError(name)


def note_and_return_lock(ledger, name):
    note(ledger, name)
    return work.unpicklable_result()


def note_and_change_elsewhere_once(ledger, name, counter):
    """Lets the commit of its transaction conflict, once."""
    note(ledger, name)
    counter.add()
    if work.calls[name] == 1:
        work.elsewhere(counter, lambda fresh: fresh.add(10))
    return name


def reassign(ledger, name, oid):
    """Does what a take-over does to another job, once."""
    note(ledger, name)

    def take(root):
        job = root._p_jar.get(oid)
        job.attempt += 1

    if work.calls[name] == 1:
        work.elsewhere(ledger._p_jar.root(), take)
    return name


class NoSavepoints:
    """A data manager that cannot go back."""

    def __init__(self, tm):
        self.transaction_manager = tm

    def sortKey(self):
        return "no savepoints"

    def abort(self, txn):
        """Nothing to undo."""

    tpc_begin = commit = tpc_vote = tpc_finish = tpc_abort = abort


def note_and_join(ledger, name):
    tm = manager()
    tm.get().join(NoSavepoints(tm))
    return note(ledger, name)


def say(text, success):
    work.calls[text] = work.calls.get(text, 0) + success


def fail_with_hook_once(ledger, name):
    """Adds a hook to its transaction, and fails the first time."""
    manager().get().addAfterCommitHook(lambda success: say(f"{name} said", success))
    return note_and_fail_once(ledger, name)


def note_behind_gate(ledger, name):
    work.pass_gate(name)
    return note(ledger, name)


def wait_and_fail_once(ledger, name):
    if work.calls.get(name) is None:
        work.pass_gate(name)
    return note_and_fail_once(ledger, name)


def cancel_requested(name):
    """Whether this job was asked to stop, when the test says so."""
    work.pass_gate(name)
    return context.current().cancel_requested


def report(ledger, name, *, ctx):
    ctx.progress(message=name)
    return note(ledger, name)


def count_in_file(counter, path):
    """Counts in the database and, outside of it, in a file."""
    with open(path, "a") as stream:
        stream.write(f"{os.getpid()}\n")
    return counter.add()


def count_and_say(counter, path, name, gate=None):
    """Counts, and says in a file which process did it; waits if there is a gate."""
    zeoprocess.append(path, f"{os.getpid()}:{name}")
    if gate is not None:
        wait_until(Path(gate).exists, "opening the gate", zeoprocess.PATIENCE)
    return counter.add()


def count_and_die_once(counter, path):
    """Kills its process, unless it did so before."""
    counter.add()
    if not Path(path).exists():
        Path(path).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return counter.count


def who(queue):
    """Jobs of the queue that are claimed at the moment."""
    transaction.begin()
    return [
        job
        for agents in queue.dispatchers.values()
        for agent in agents.values()
        for job in agent
    ]


def kept(queue):
    """Results of the queue's finished jobs that are kept."""
    transaction.begin()
    return {
        job.result
        for agents in queue.dispatchers.values()
        for agent in agents.values()
        for job in agent.completed
    }


def be_patient(set_to=setattr):
    """Let a claim take all that waits, and a slow machine make no group smaller."""
    set_to(pools, "AHEAD", 1e6)
    set_to(pools, "GIVE_BACK_AFTER", 1e6)
    set_to(pools, "GIVE_BACK_GROUPABLE_AFTER", 1e6)
    set_to(groups, "BUDGET", 1e6)


def start_ready(queue, start_dispatcher, size=1):
    """A dispatcher with so many threads, which is ready for a group."""
    made = start_dispatcher()
    wait_for_agents(queue, made)["main"].size = size
    transaction.commit()
    pool = pool_of(made)
    wait_until(lambda: pool.size == size, "the new size")
    first = queue.put(Job(work.nothing))
    transaction.commit()
    wait_for_result(first, PATIENCE)
    wait_until(lambda: pool.idle and pool.batch() > size, "having run a job")
    return made


def finish(*jobs):
    """Commits, and waits for these jobs; returns their results."""
    transaction.commit()
    results = [wait_for_result(job, PATIENCE) for job in jobs]
    transaction.begin()
    return results


def commits_of(jobs):
    """The jobs' last commits, each once."""
    for job in jobs:
        job._p_activate()
    return {job._p_serial for job in jobs}


def names(ledger):
    ledger._p_activate()
    return [ledger[key] for key in sorted(ledger)]


if __name__ == "__main__":
    be_patient()
    zeoprocess.main(*sys.argv[1:])
