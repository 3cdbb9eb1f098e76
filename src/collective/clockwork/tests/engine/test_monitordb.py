"""The command ``asyncdb`` and its functions, on real queues."""

from __future__ import annotations

from collective.clockwork.engine import clock
from collective.clockwork.engine import monitordb
from collective.clockwork.engine.dispatcher import getId
from collective.clockwork.engine.interfaces import IUUID
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.queue import Queue
from collective.clockwork.engine.testing import drain
from collective.clockwork.engine.testing import set_now
from collective.clockwork.engine.testing import wait_for_result
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine.monitoring import activate
from collective.clockwork.tests.engine.monitoring import ago
from collective.clockwork.tests.engine.monitoring import FIRST
from collective.clockwork.tests.engine.monitoring import hold
from collective.clockwork.tests.engine.monitoring import ids
from collective.clockwork.tests.engine.monitoring import NOW
from collective.clockwork.tests.engine.monitoring import put
from collective.clockwork.tests.engine.monitoring import SECOND
from collective.clockwork.tests.engine.monitoring import Wire
from datetime import timedelta
from uuid import uuid4
from ZODB.interfaces import IDatabase
from zope.component import provideUtility

import json
import pytest
import transaction


TOOLS = (
    "UUIDs count help job jobs jobstats lastcompleted nextpending status traceback"
).split()
STATES = ("pending", "assigned", "active", "callbacks", "completed")


# Help and errors


def test_help_lists_all_tools_and_tells_of_each(ask):
    for text in (ask(), ask("help")):
        assert [name for name in TOOLS if f"{name}: " in text] == TOOLS
    for tool in TOOLS:
        assert ask("help", tool).startswith(f"{tool}: ")
    assert "callable:GLOB" in ask("help", "count")
    assert ask("x").startswith("[Unknown tool 'x'")


@pytest.mark.parametrize(
    "words,complaint",
    [
        (["jobs"], "no state"),
        (["jobs", "waiting"], "unknown state waiting"),
        (["count", "completed", "failed"], "only one of"),
        (["count", "succeeded", "failed"], "only one of"),
        (["count", "pending", "colour:red"], "unknown filter 'colour'"),
        (["jobs", "pending", "display:all"], "display is 'all'"),
        (["jobs", "pending", "count:many"], "whole number"),
        (["count", "failed", "end:2S"], "use sinceX"),
        (["count", "failed", "end:since2S,since1S"], "since is given twice"),
        (["count", "pending", "uuid:x"], "no UUID"),
        (["nextpending", "start:since1S"], "no start"),
        (["job", "99999999"], "no object 99999999"),
        (["job", "0"], "not a job"),
        (["job", "0", "elsewhere"], "no database"),
        (["traceback", "0", "detail:huge"], "brief, default, or verbose"),
    ],
)
def test_wrong_arguments_are_refused_with_what_is_wrong(ask, words, complaint):
    with pytest.raises(ValueError, match=complaint):
        ask(*words)


def test_the_database_may_be_a_utility_and_must_be_known(db):
    wire = Wire()
    with pytest.raises(ValueError, match="which database"):
        monitordb.asyncdb(wire, "UUIDs")
    provideUtility(db, IDatabase)
    monitordb.asyncdb(wire, "UUIDs")
    assert json.loads(wire.text) == []


def test_a_command_leaves_no_connection_open(db, ask):
    def in_use():
        return [info for info in db.connectionDebugInfo() if info["opened"]]

    before = len(in_use())
    ask("status")
    with pytest.raises(ValueError):
        ask("job", "0")
    assert len(in_use()) == before


def test_the_functions_take_a_connection_or_a_stored_object(connection, queue):
    put(queue, work.answer)
    for context in (connection, queue):
        assert monitordb.count(context, "pending") == 1
    with pytest.raises(TypeError):
        monitordb.count(object(), "pending")


# Pending jobs


def test_pending_jobs_are_told_of_in_their_order(queue, ask_json):
    """``detail`` and ``details`` are one: zc.async's help and code did not agree."""
    jobs = put(queue, *[work.answer, work.nothing] * 3)
    assert ask_json("status")[""]["len"] == 6
    assert ask_json("count", "pending") == 6
    assert ask_json("jobs", "pending") == ids(jobs)
    assert ask_json("jobs", "pending", "display:repr") == [repr(job) for job in jobs]
    for word in ("detail", "details"):
        (shown,) = ask_json("jobs", "pending", f"display:{word}", "count:1")
        assert shown["repr"] == repr(jobs[0])
    assert ask_json("nextpending")["repr"] == repr(jobs[0])


def test_nothing_is_next_or_last_in_an_empty_database(ask_json):
    assert ask_json("nextpending") is None
    assert ask_json("lastcompleted") is None
    assert ask_json("count", *STATES) == 0


def test_the_details_of_a_pending_job(queue, ask_json):
    set_now(ago(90.5))
    queue.quotas.create("mail")
    job = Job(work.echo, "one", two=2)
    job.quota_names = ("mail",)
    job.addCallback(work.mirror)
    put(queue, job)
    set_now(NOW)
    oid = str(getId(job)[0])
    shown = ask_json("job", oid)
    assert shown == ask_json("job", oid, "unnamed")
    assert shown == {
        "active": None,
        "active end": None,
        "active start": None,
        "agent": None,
        "args": ["'one'"],
        "begin after": "2026-05-04T03:00:30.500000Z",
        "callbacks": ids(job.callbacks),
        "cancelled": False,
        "dispatcher": None,
        "failed": False,
        "initial callbacks end": None,
        "kwargs": {"two": "2"},
        "queue": "",
        "quota names": ["mail"],
        "repr": repr(job),
        "result": "None",
        "status": "pending-status",
        "wait": {"minutes": 1, "seconds": 30.5},
    }


@pytest.mark.parametrize(
    "glob,number",
    [
        ("answer", 2),
        ("an*", 2),
        ("n*", 3),
        ("*", 6),
        ("collective.clockwork.tests.engine.work.answer", 2),
        ("collective.clockwork.*", 6),
        ("collective.clockwork.engine.*", 0),
        ("work.*", 0),
    ],
)
def test_jobs_are_found_by_the_name_of_their_function(queue, ask_json, glob, number):
    put(queue, work.answer, work.answer, work.nothing, work.nothing, work.nothing)
    put(queue, work.boom)
    assert ask_json("count", "pending", f"callable:{glob}") == number


def test_pending_jobs_are_found_by_the_time_they_asked_for(queue, ask_json):
    set_now(ago(60))
    put(queue, work.answer)
    set_now(ago(10))
    put(queue, work.answer)
    set_now(NOW)
    assert ask_json("count", "pending", "requested_start:since30S") == 1
    assert ask_json("count", "pending", "requested_start:before30S") == 1
    assert ask_json("count", "pending", "requested_start:since70S,before5S") == 2


def test_a_time_that_a_state_cannot_have_drops_the_state(queue, ask_json):
    put(queue, work.answer)
    for name in ("start", "end", "callbacks_completed"):
        assert ask_json("count", "pending", "assigned", f"{name}:before0S") == 0


def test_pending_jobs_of_several_queues_are_merged_by_their_time(queue, ask_json):
    second = queue.parent["second"] = Queue()
    transaction.commit()
    jobs = []
    for number in range(4):
        set_now(ago(10 - number))
        jobs += put((queue, second)[number % 2], work.answer)
    set_now(NOW)
    assert ask_json("jobs", "pending") == ids(jobs)
    assert ask_json("jobs", "pending", "queue:sec*") == ids(jobs[1::2])
    assert ask_json("count", "pending", "queue:") == 2
    assert ask_json("status", "queue:second") == {
        "second": {"len": 2, "dispatchers": {}}
    }


# Agents


def test_pending_jobs_of_an_agent_are_those_that_its_filter_takes(queue, ask_json):
    activate(queue, FIRST, filter=work.mirrors)
    put(queue, work.answer, work.answer)
    assert ask_json("count", "pending", "agent:main") == 0
    assert ask_json("count", "pending", f"uuid:{FIRST}") == 0
    put(queue, Job(work.mirror, 1))
    assert ask_json("count", "pending", "agent:main") == 1
    activate(queue, SECOND, "all")
    assert ask_json("count", "pending", "agent:all") == 3
    assert ask_json("count", "pending", f"uuid:{SECOND}") == 3
    assert ask_json("count", "pending", "agent:nobody") == 0


def test_what_an_agent_with_a_chooser_would_take_is_an_error(queue, ask):
    activate(queue, FIRST, chooser=work.chosen_by_oid)
    with pytest.raises(ValueError, match="chooser"):
        ask("count", "pending", "agent:main")


def test_a_uuid_may_be_a_glob_or_this_process_mended_no_globs(queue, ask_json, db):
    """In zc.async the help told of globs, which did not work."""
    for uuid in (FIRST, SECOND):
        agent = activate(queue, uuid)
        (job,) = put(queue, work.answer)
        hold(agent, job, 0)
    assert ask_json("UUIDs") == [str(FIRST), str(SECOND)]
    assert ask_json("count", "assigned") == 2
    assert ask_json("count", "assigned", f"uuid:{FIRST}") == 1
    assert ask_json("count", "assigned", "uuid:*2") == 1
    assert ask_json("count", "assigned", "uuid:0000*") == 2
    assert list(ask_json("status", "uuid:*1")[""]["dispatchers"]) == [str(FIRST)]


def test_this_is_the_process_that_answers(queue, ask_json, start_dispatcher):
    own = start_dispatcher(uuid=uuid4(), poll_interval=0.05)
    provideUtility(own.UUID, IUUID)
    (job,) = put(queue, work.answer)
    wait_for_result(job)
    assert list(ask_json("status", "uuid:THIS")[""]["dispatchers"]) == [str(own.UUID)]


def test_a_uuid_that_a_queue_does_not_know_finds_nothing_mended_key_error(
    queue, ask_json
):
    """In zc.async it raised a KeyError."""
    put(queue, work.answer)
    for states in (["pending"], ["active"], ["completed"]):
        assert ask_json("count", *states, f"uuid:{uuid4()}") == 0
    assert ask_json("status", f"uuid:{uuid4()}")[""]["dispatchers"] == {}


class OwnRepr:
    """A filter with a repr of its own."""

    def __call__(self, job):
        return True

    def __repr__(self):
        return "<takes everything>"


def test_the_status_tells_of_dispatchers_and_agents(queue, ask_json):
    set_now(ago(2.5))
    agent = activate(queue, FIRST, filter=OwnRepr(), size=5)
    agent.parent.ping_interval = timedelta(seconds=30)
    agent.parent.ping_death_interval = timedelta(minutes=1)
    (job,) = put(queue, work.answer)
    hold(agent, job, 0)
    set_now(NOW)
    assert ask_json("status") == {
        "": {
            "len": 0,
            "dispatchers": {
                str(FIRST): {
                    "last ping": "2026-05-04T03:01:58.500000Z",
                    "since ping": {"seconds": 2.5},
                    "dead": False,
                    "ping interval": {"seconds": 30.0},
                    "ping death interval": {"minutes": 1},
                    "agents": {
                        "main": {"size": 5, "len": 1, "filter": "<takes everything>"}
                    },
                }
            },
        }
    }
    assert ask_json("status", "agent:x")[""]["dispatchers"][str(FIRST)]["agents"] == {}


def test_a_dispatcher_that_was_silent_for_long_is_shown_as_dead(queue, ask_json):
    set_now(ago(10_000))
    activate(queue, FIRST)
    set_now(NOW)
    assert ask_json("status")[""]["dispatchers"][str(FIRST)]["dead"] is True


# States


@pytest.fixture
def all_states(queue, db):
    """One job of each state, in the order in which they are told of."""
    set_now(ago(100))
    succeeded, failed = put(queue, work.answer, work.boom)
    set_now(ago(90))
    drain(db)
    transaction.begin()
    agent = activate(queue, FIRST)
    set_now(ago(50))
    assigned, active, callbacks, pending = put(queue, *[work.nothing] * 4)
    hold(agent, assigned, 0)
    hold(agent, active, 1, start=ago(20))
    hold(agent, callbacks, 2, start=ago(40))
    callbacks._active_end = clock.to_us(ago(35))
    transaction.commit()
    set_now(NOW)
    return {
        "pending": pending,
        "callbacks": callbacks,
        "active": active,
        "assigned": assigned,
        "failed": failed,
        "succeeded": succeeded,
    }


@pytest.mark.parametrize(
    "state", ["pending", "assigned", "active", "callbacks", "succeeded", "failed"]
)
def test_jobs_are_found_by_their_state(all_states, ask_json, state):
    assert ask_json("jobs", state) == ids([all_states[state]])
    assert ask_json("count", state) == 1


def test_groups_come_in_order_and_those_of_agents_by_their_start(all_states, ask_json):
    assert ask_json("jobs", *STATES) == ids(all_states.values())
    assert ask_json("count", *STATES) == 6
    assert ask_json("count", "completed", "pending") == 3


def test_statistics_count_the_states_and_find_longest_and_shortest_mended_shortest(
    all_states, ask_json
):
    """In zc.async the shortest was computed as the longest."""
    numbers = ask_json("jobstats")
    assert numbers == {
        "pending": 1,
        "assigned": 1,
        "active": 1,
        "callbacks": 1,
        "succeeded": 1,
        "failed": 1,
        "cancelled": 0,
        "longest wait": [{"seconds": 50.0}, *ids([all_states["pending"]])],
        "shortest wait": [{"seconds": 10.0}, *ids([all_states["callbacks"]])],
        "longest active": [{"seconds": 20.0}, *ids([all_states["active"]])],
        "shortest active": [{"seconds": 0.0}, *ids([all_states["failed"]])],
    }
    shown = ask_json("jobstats", "active", "display:repr")
    assert shown["longest active"][1] == repr(all_states["active"])
    shown = ask_json("jobstats", "active", "display:details")
    assert shown["shortest active"][1]["status"] == "active-status"


def test_statistics_of_nothing_have_all_keys(ask_json):
    numbers = ask_json("jobstats", *STATES)
    assert len(numbers) == 11 and not any(numbers.values())


def test_jobs_that_have_begun_are_found_by_their_times(all_states, ask_json):
    active, callbacks = ids([all_states["active"], all_states["callbacks"]])
    assert ask_json("jobs", *STATES[:4], "start:since30S") == [active]
    assert ask_json("jobs", *STATES[:4], "start:before30S") == [callbacks]
    assert ask_json("jobs", *STATES[:4], "end:since1M") == [callbacks]
    assert ask_json("count", "completed", "end:since1M") == 0
    assert ask_json("count", "completed", "callbacks_completed:before89S") == 2


def test_an_outer_job_that_waits_is_active(queue, ask_json):
    agent = activate(queue, FIRST)
    outer, inner = put(queue, work.nothing, work.answer)
    hold(agent, outer, 1, start=ago(5))
    agent.release(outer)
    outer.wait_for(inner)
    queue.waiting[getId(outer)[0]] = outer
    transaction.commit()
    assert ask_json("jobs", "active", "agent:main") == ids([outer])
