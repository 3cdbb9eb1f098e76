"""Each job says in one sentence why it waits, or what it does."""

from __future__ import annotations

from collective.clockwork.engine import clock
from collective.clockwork.engine import deaths
from collective.clockwork.engine import explain as module
from collective.clockwork.engine import quarantine
from collective.clockwork.engine.agent import Agent
from collective.clockwork.engine.backoff import Backoff
from collective.clockwork.engine.explain import explain
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.outcomes import conclude
from collective.clockwork.engine.outcomes import Snooze
from collective.clockwork.engine.testing import drain
from collective.clockwork.engine.testing import set_now
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine.explaining import check
from collective.clockwork.tests.engine.explaining import named
from collective.clockwork.tests.engine.moments import NOW
from datetime import timedelta
from pathlib import Path
from uuid import UUID
from ZODB.broken import Broken
from ZODB.utils import u64

import pytest
import string
import transaction


HOUR = timedelta(hours=1)
LATER = NOW + HOUR
WORKER = UUID(int=7)
NAME = "collective.clockwork.tests.engine.work.answer"


pytestmark = pytest.mark.usefixtures("frozen")


@pytest.fixture
def agents(queue):
    """A worker that is alive, with one agent."""
    agents = queue.dispatchers.register(WORKER)
    agents.activate()
    agents["main"] = Agent()
    transaction.commit()
    return agents


def claim(agents, count: int = 1) -> None:
    for _time in range(count):
        assert agents["main"].claimJob() is not None
    transaction.commit()


# In no queue


def test_a_new_job():
    check(Job(work.answer), "new", "It was made, but not queued.")


def test_a_removed_job(queue, put):
    job = put()
    queue.remove(job)
    transaction.commit()
    check(job, "removed", "It was taken out of its queue.")


def test_a_callback(put):
    job = put()
    callback = job.addCallback(work.mirror)
    proxy = job.addCallbacks(work.mirror)
    transaction.commit()
    for each in (callback, proxy.success):
        text = f"It is a callback, and waits for the end of {named(job)}."
        check(each, "callback", text, of=named(job))


def test_a_callback_of_a_job_that_is_not_stored():
    job = Job(work.answer)
    of = f"{NAME} (not stored)"
    text = f"It is a callback, and waits for the end of {of}."
    check(job.addCallback(work.mirror), "callback", text, of=of)


# Waiting


class Unreadable(Job):
    """A job whose code has changed."""

    def __setstate__(self, state):
        raise AttributeError("changed")


def test_a_job_that_cannot_be_read(queue, elsewhere):
    job = Unreadable(work.answer)
    queue.put(job)
    transaction.commit()
    fresh = elsewhere().get(job._p_oid)
    for each in (fresh, Broken()):
        reason = explain(each)
        assert reason.code == "unreadable"
        assert reason.values == {}
        assert reason.text.startswith("Its record cannot be read here: code that it")


def test_a_job_whose_function_is_missing(db, put, monkeypatch):
    job = put()
    monkeypatch.delattr(work, "answer")
    drain(db)
    transaction.begin()
    reason = explain(job)
    assert reason.values == {"missing": job.waits_for, "at": job.begin_after}
    check(
        job,
        "unresolvable",
        f"It waits until its function can be imported: {NAME} cannot be imported: "
        "module 'collective.clockwork.tests.engine.work' has no attribute 'answer'. "
        "The next try is at 2030-01-01 00:01:00 UTC.",
        **reason.values,
    )


def test_a_job_in_quarantine(queue, agents, put):
    job = put()
    job._deaths = deaths.Evidence()
    job._deaths.count = 3
    queue._take_out(job)
    quarantine.set_aside(queue, job, clock.to_us(NOW))
    transaction.commit()
    text = (
        "It is set aside since 2030-01-01 00:00:00 UTC, because processes died under "
        "it 3 times; somebody has to release or discard it."
    )
    check(job, "quarantined", text, since=NOW, deaths=3)
    queue.quarantine.discard(job)
    transaction.commit()
    text = (
        "It was set aside after 3 deaths of its process, and discarded at 2030-01-01 "
        "00:00:00 UTC."
    )
    check(job, "discarded", text, at=NOW, deaths=3)


def test_a_job_whose_time_has_not_come(agents, put):
    job = put(begin_after=LATER)
    check(job, "due", "It is to begin at 2030-01-01 01:00:00 UTC.", at=LATER)
    assert explain(job, LATER).code == "next"
    assert explain(job, LATER - HOUR / 2).code == "due"


def test_a_job_that_is_tried_again(db, put):
    job = put(work.boom, retry_policy_factory=Backoff(first=HOUR, jitter=0))
    drain(db)
    transaction.begin()
    text = "It came to nothing 1 times, and is tried again at 2030-01-01 01:00:00 UTC."
    check(job, "retry", text, tries=1, at=LATER)


def test_a_job_that_sleeps(put):
    job = put()
    conclude(job, Snooze(HOUR), None, {})
    transaction.commit()
    text = "It asked to be run again at 2030-01-01 01:00:00 UTC."
    check(job, "snoozed", text, at=LATER)


def test_a_job_that_is_late(agents, put):
    job = put(begin_by=HOUR)
    assert explain(job).code == "next"
    set_now(LATER + HOUR)
    agents.ping.at = clock.now_us()
    transaction.commit()
    text = (
        "It was to begin by 2030-01-01 01:00:00 UTC, which has passed: the next free "
        "worker ends it."
    )
    check(job, "late", text, by=LATER)


def test_a_paused_queue(queue, agents, put):
    job = put()
    queue.pause("jane", "we move house.")
    transaction.commit()
    text = "Its queue is paused by jane since 2030-01-01 00:00:00 UTC: we move house."
    check(job, "paused", text, by="jane", since=NOW, reason="we move house.")
    queue.resume()
    queue.pause()
    transaction.commit()
    text = (
        "Its queue is paused by somebody since 2030-01-01 00:00:00 UTC: no reason was "
        "given."
    )
    check(job, "paused", text, by=None, since=NOW, reason=None)


def test_no_worker_was_ever_there(put):
    text = "No worker is alive; the last sign of life was at no time."
    check(put(), "no-worker", text, last=None)


def test_no_worker_is_there_any_more(agents, put):
    job = put()
    set_now(NOW + 24 * HOUR)
    text = "No worker is alive; the last sign of life was at 2030-01-01 00:00:00 UTC."
    check(job, "no-worker", text, last=NOW)
    agents.deactivate()
    transaction.commit()
    check(job, "no-worker", text, last=NOW)


def test_a_full_quota(queue, agents, put):
    queue.quotas.create("mail", 1)
    first, second = put(quotas=("mail",)), put(quotas=("mail",))
    assert explain(second).code == "next"
    claim(agents)
    text = (
        f"The quota mail has no place free: its size is 1, and {named(first)} holds a "
        "place."
    )
    check(second, "quota", text, quota="mail", size=1, holder=named(first))
    first._status = 3
    assert explain(second).code == "next", "its holder has ended"


def test_a_quota_of_nothing(queue, agents, put):
    queue.quotas.create("mail", 0)
    job = put(quotas=("mail",))
    text = "No job of the quota mail is run: its size is 0."
    check(job, "quota-zero", text, quota="mail")


def test_a_place_that_is_lent(queue, agents, put):
    """An inner job has the place of its outer one, unless a sibling has it."""
    queue.quotas.create("mail", 1)
    outer = put(quotas=("mail",))
    claim(agents)
    inner, sibling = put(quotas=("mail",)), put(quotas=("mail",))
    outer._status, outer._active_start = 1, 1
    outer.wait_for(inner)
    sibling._outer = outer
    transaction.commit()
    assert explain(inner).code == "next"
    queue.quotas["mail"].running += (inner,)
    transaction.commit()
    text = (
        f"The quota mail has no place free: its size is 1, and {named(inner)} holds a "
        "place."
    )
    check(sibling, "quota", text, quota="mail", size=1, holder=named(inner))


def test_no_agent(agents, put):
    job = put()
    agents["main"].size = 0
    transaction.commit()
    text = "Workers are alive, but none has an agent for this queue."
    check(job, "no-agent", text)
    del agents["main"]
    transaction.commit()
    check(job, "no-agent", text)


def refuse(job):
    return False


def break_down(job):
    raise RuntimeError("broken filter")


@pytest.mark.parametrize("function", [refuse, break_down])
def test_no_agent_accepts_it(agents, put, function):
    job = put()
    agents["main"].filter = function
    transaction.commit()
    text = "No agent of a worker that is alive accepts it."
    check(job, "not-accepted", text)
    agents["other"] = Agent()
    assert explain(job).code == "next"


def test_what_a_chooser_takes_nobody_can_tell(agents, put):
    job = put()
    agents["main"].chooser = refuse
    transaction.commit()
    assert explain(job).code == "next"


def test_a_paused_agent(agents, put):
    job = put()
    agents["main"].pause("jane", "we move house.")
    transaction.commit()
    text = (
        "The agent main, which would take it, is paused by jane since "
        "2030-01-01 00:00:00 UTC: we move house."
    )
    values = {"by": "jane", "since": NOW, "reason": "we move house."}
    check(job, "agent-paused", text, agent="main", **values)


def test_all_workers_are_busy(agents, put):
    for _time in range(3):
        put()
    job = put()
    claim(agents, 2)
    assert explain(job).code == "next"
    claim(agents)
    text = "All workers are busy: 3 jobs run or are about to."
    check(job, "busy", text, places=3)


def test_a_job_whose_turn_comes(agents, put):
    check(put(), "next", "It is taken as soon as its turn has come.")


# With a worker


def test_a_claimed_job(agents, put):
    job = put()
    claim(agents)
    text = f"The worker {WORKER} has claimed it, and begins it soon."
    check(job, "claimed", text, worker=str(WORKER))


def test_a_running_job(agents, put):
    job = put()
    claim(agents)
    agents["main"].activity.running = (
        (("unnamed", u64(job._p_oid)), clock.to_us(NOW)),
    )
    transaction.commit()
    text = f"It runs in the worker {WORKER} since 2030-01-01 00:00:00 UTC."
    check(job, "running", text, worker=str(WORKER), since=NOW)


def test_a_job_that_was_asked_to_stop(queue, agents, put):
    other, job = put(), put()
    claim(agents, 2)
    assert job.cancel(reason="not needed") == "asked"
    transaction.commit()
    text = (
        f"It runs in the worker {WORKER}; somebody asked it to stop at 2030-01-01 "
        "00:00:00 UTC: not needed."
    )
    values = {"by": None, "since": NOW, "reason": "not needed"}
    check(job, "cancelling", text, worker=str(WORKER), **values)
    assert explain(other).code == "claimed"


def test_a_job_of_a_worker_that_is_gone(agents, put):
    job = put()
    claim(agents)
    set_now(NOW + 24 * HOUR)
    text = (
        f"The worker {WORKER} had it, and has given no sign of life since "
        "2030-01-01 00:00:00 UTC: another one takes it over."
    )
    check(job, "silent", text, worker=str(WORKER), last=NOW)


def test_a_job_that_was_begun_by_hand(put):
    job = put()
    job._status, job._active_start = 1, clock.to_us(NOW)
    transaction.commit()
    text = "It was begun at 2030-01-01 00:00:00 UTC, by a process that is no worker."
    check(job, "by-hand", text, since=NOW)


def test_a_job_that_waits_for_another(agents, put):
    inner, job = put(), put()
    job.wait_for(inner)
    transaction.commit()
    text = f"It was begun, and waits for the job {named(inner)}."
    check(job, "inner", text, inner=named(inner))


def test_a_job_that_waits_for_what_it_promised(agents, put):
    job, by_hand = put(), put()
    claim(agents)
    text = "It was begun, and waits for the result that it promised."
    for each in (job, by_hand):
        each.wait_for_deferred()
        transaction.commit()
        check(each, "deferred", text)
    set_now(NOW + 24 * HOUR)
    assert explain(job).code == "silent", "who waits for it is gone"
    assert explain(by_hand).code == "deferred"


def test_a_withdrawn_job_whose_callbacks_are_to_be_called(put):
    job = put()
    job.addCallback(work.mirror)
    job.cancel("jane")
    transaction.commit()
    assert job._status == 2
    text = "It was cancelled at 2030-01-01 00:00:00 UTC by jane: no reason was given."
    check(job, "cancelled", text, at=NOW, by="jane", reason=None)


def test_a_job_with_a_priority(queue, agents, put):
    queue.quotas.create("mail", 1)
    assert explain(put(quotas=("mail",), priority=5)).code == "next"
    first = put(quotas=("mail",), priority=-5)
    claim(agents, 1)
    assert explain(first).code == "quota"


def test_it_loads_nothing_else_that_waits(queue, agents, db, put, elsewhere):
    queue.quotas.create("none", 0)
    for _number in range(300):
        job = Job(work.answer)
        job.quota_names = ("none",)
        queue.put(job)
    transaction.commit()
    drain(db)
    transaction.begin()
    fresh = elsewhere()
    fresh.cacheMinimize()
    jobs = [fresh.get(each._p_oid) for each in queue]
    assert explain(jobs[-1]).code == "quota-zero"
    assert [each for each in jobs if each._p_changed is not None] == jobs[-1:]


# All of them


def test_all_codes_are_tested():
    files = Path(__file__).parent.glob("test_explain*.py")
    source = "".join(path.read_text(encoding="utf-8") for path in files)
    assert [code for code in module.CODES if f'"{code}"' not in source] == []


def test_all_sentences_are_one_line_and_end_with_a_full_stop():
    for code, text in module.TEXTS.items():
        assert code == code.lower()
        assert text.endswith(".") and "\n" not in text
        names = [field for _text, field, _spec, _c in string.Formatter().parse(text)]
        assert all(name is None or name.isidentifier() for name in names)


def test_it_does_not_load_the_jobs_that_wait(queue, agents, put, elsewhere):
    queue.quotas.create("mail", 1)
    jobs = [queue.put(Job(work.answer)) for _ in range(300)]
    held = [put(begin_after=LATER) for _ in range(3)]
    full = [put(quotas=("mail",)) for _ in range(3)]
    connection = elsewhere()
    for job in (jobs[-1], held[-1], full[-1]):
        connection.cacheMinimize()
        assert explain(connection.get(job._p_oid)).code in ("next", "due")
        read = [o for _oid, o in connection._cache.lru_items() if isinstance(o, Job)]
        assert len(read) == 1
