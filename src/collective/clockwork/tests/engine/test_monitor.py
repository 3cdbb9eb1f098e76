"""The command ``async``, its arguments and answers, and the line server."""

from __future__ import annotations

from collective.clockwork.engine import dispatcher as registry
from collective.clockwork.engine import monitor
from collective.clockwork.engine import monitorserver
from collective.clockwork.engine import monitortext
from collective.clockwork.engine.agent import Agent
from collective.clockwork.engine.dispatcher import Dispatcher
from collective.clockwork.engine.dispatcher import getId
from collective.clockwork.engine.interfaces import IUUID
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.testing import set_now
from collective.clockwork.engine.testing import wait_for_result
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.tests.codeblocks import named_blocks
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine.dispatching import NEVER
from collective.clockwork.tests.engine.dispatching import wait_until_begun
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from uuid import UUID
from uuid import uuid4
from zope.component import provideUtility

import json
import os
import pytest
import socket
import stat
import transaction


NOW = datetime(2026, 5, 4, 3, 2, 1, 500000, tzinfo=timezone.utc)
TOOLS = "UUID help job jobs jobstats poll polls status utcnow".split()


class Wire:
    """A connection of a monitor."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text


def ask(*words):
    wire = Wire()
    monitor.async_(wire, *words)
    return wire.text


def ask_json(*words):
    return json.loads(ask(*words))


@pytest.fixture
def alone():
    """A process without dispatchers of other tests."""
    others = registry.all_dispatchers()
    registry.clear()
    yield
    registry.clear()
    for other in others:
        registry._registry[other.UUID] = other


@pytest.fixture
def fresh(db, alone):
    """A dispatcher that was not started."""
    return Dispatcher(db, uuid=uuid4())


@pytest.fixture
def dispatcher(alone, start_dispatcher, queue):
    made = start_dispatcher(poll_interval=NEVER)
    wait_until(lambda: len(made.polls), "a poll")
    return made


# Arguments


@pytest.mark.parametrize(
    "text,seconds",
    [
        ("2S", 2),
        ("2.5s", 2.5),
        ("1m", 60),
        ("1H30M", 5400),
        ("1D", 86400),
        ("1d1h1m1s", 90061),
    ],
)
def test_intervals(text, seconds):
    assert monitortext.parse_interval(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "5", "S", "1S1M", "-1S", "yesterday", "1.5H"])
def test_what_is_no_interval_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match="1H30M"):
        monitortext.parse_interval(text)


def test_a_positional_argument_behind_a_named_one_is_refused():
    assert monitortext.split_arguments(["a", "b:c:d"]) == (["a"], {"b": "c:d"})
    with pytest.raises(ValueError, match="'late' follows"):
        ask("jobs", "queue:", "late")


def test_an_argument_that_is_given_twice_is_refused():
    with pytest.raises(ValueError, match="queue is given twice"):
        ask("jobs", "queue:a", "queue:b")


def test_an_argument_that_a_tool_does_not_take_is_refused():
    with pytest.raises(ValueError, match="status: .*colour"):
        ask("status", "colour:red")
    with pytest.raises(ValueError, match="whole number"):
        ask("job", "twelve", f"uuid:{uuid4()}")


def test_an_unknown_tool_is_answered_with_the_known_ones():
    text = ask("jbos")
    assert text.startswith("[Unknown tool 'jbos'") and "jobstats" in text


# Answers


@pytest.mark.parametrize(
    "duration,shown",
    [
        (timedelta(), {"seconds": 0.0}),
        (timedelta(seconds=1.25), {"seconds": 1.25}),
        (timedelta(days=1, minutes=2), {"days": 1, "minutes": 2}),
        (timedelta(hours=1, seconds=1), {"hours": 1, "seconds": 1.0}),
        (timedelta(seconds=-61), {"minutes": -1, "seconds": -1.0}),
    ],
)
def test_durations_leave_out_what_is_zero_and_keep_fractions(duration, shown):
    """In zc.async the fractions of seconds were lost."""
    assert json.loads(monitortext.to_text(duration)) == shown


def test_values_that_json_does_not_know(queue):
    job = queue.put(Job(work.answer))
    agent = Agent()
    unknown = object()
    transaction.commit()
    shown = json.loads(
        monitortext.to_text([job, agent, work.answer, NOW, unknown, iter([1, 2])])
    )
    assert shown == [
        list(getId(job)),
        "collective.clockwork.engine.agent.Agent (oid ?, db ?)",
        "collective.clockwork.tests.engine.work.answer",
        "2026-05-04T03:02:01.500000Z",
        repr(unknown),
        [1, 2],
    ]


def test_keys_are_sorted_and_text_is_plain():
    assert monitortext.to_text({"b": 1, "a": 2}) == '{\n    "a": 2,\n    "b": 1\n}\n'
    assert monitortext.to_text("text") == "text\n"


# Help


def test_help_lists_all_tools():
    for text in (ask(), ask("help")):
        assert [name for name in TOOLS if f"{name}: " in text] == TOOLS
    assert sorted(monitor.TOOLS) == TOOLS


@pytest.mark.parametrize("tool", TOOLS)
def test_help_tells_what_a_tool_does(tool):
    assert ask("help", tool).startswith(f"{tool}: ")
    assert ask("help", tool).count("\n") >= 1


def test_help_for_what_is_no_tool_names_the_tools():
    assert "[Unknown tool 'x'" in ask("help", "x")


# A process that has done nothing


def test_a_fresh_process_answers_all_tools(fresh):
    set_now(NOW)
    assert ask("UUID") == f"{fresh.UUID}\n"
    assert ask("utcnow") == "2026-05-04T03:02:01.500000Z\n"
    assert ask_json("jobs") == []
    assert ask_json("polls") == []
    numbers = ask_json("jobstats")
    assert (numbers["started"], numbers["longest active"]) == (0, None)
    assert ask_json("status") == {
        "status": "STOPPED",
        "poll interval": {"seconds": 5.0},
        "time since last poll": None,
        "uptime": None,
        "uuid": str(fresh.UUID),
    }
    with pytest.raises(ValueError, match="no poll"):
        ask("poll")


# Which dispatcher


def test_a_dispatcher_is_chosen_by_its_uuid_and_the_process_has_a_default(fresh, db):
    second = Dispatcher(db, uuid=uuid4())
    assert ask_json("status", f"uuid:{second.UUID}")["uuid"] == str(second.UUID)
    with pytest.raises(ValueError, match="no dispatcher"):
        ask("status")
    provideUtility(fresh.UUID, IUUID)
    assert ask_json("status")["uuid"] == str(fresh.UUID)
    assert monitor.parse_uuid("this") == fresh.UUID


def test_a_dispatcher_that_is_not_here_is_an_error_that_names_those_here(fresh):
    with pytest.raises(ValueError, match=str(fresh.UUID)):
        ask("status", f"uuid:{UUID(int=1)}")
    with pytest.raises(ValueError, match="'x' is no UUID"):
        ask("status", "uuid:x")


# A dispatcher that works


def test_a_running_and_then_finished_job_is_followed(dispatcher, queue):
    job = queue.put(Job(work.pass_gate, "slow"))
    transaction.commit()
    wait_until_begun("slow")
    id = list(getId(job))
    assert ask_json("jobs") == ask_json("jobs", "queue:", "agent:main") == [id]
    assert ask_json("jobs", "queue:other") == []
    # The poll that claimed it is recorded when it is over.
    wait_until(lambda: ask_json("jobstats")["longest active"], "its poll")
    numbers = ask_json("jobstats")
    assert numbers["longest active"] == numbers["shortest active"] == id
    work.gate("slow").set()
    wait_for_result(job)
    wait_until(lambda: ask_json("job", str(id[0]))["completed"], "a record")
    assert ask_json("jobs") == []
    info = ask_json("job", str(id[0]), "database:unnamed")
    assert (info["result"], info["failed"]) == ("'slow'", False)
    assert info["started"].endswith("Z")
    poll = ask_json("poll", f"at:{info['poll id']}")
    assert poll["key"] == info["poll id"]
    assert poll["results"][""]["main"]["new jobs"] == [id]
    assert ask_json("jobstats", "since:1H")["successful"] == 1
    assert ask_json("status")["status"] == "RUNNING"


def test_polls_are_told_from_the_newest_three_unless_told_otherwise(dispatcher, queue):
    for _ in range(4):
        wait_for_result(_queued(queue))
    wait_until(lambda: len(dispatcher.polls) > 4, "polls")
    keys = [poll.key for poll in dispatcher.polls]
    assert [poll["key"] for poll in ask_json("polls")] == keys[:3]
    assert [poll["key"] for poll in ask_json("polls", "count:2")] == keys[:2]
    assert [poll["key"] for poll in ask_json("polls", "since:1H")] == keys
    assert [p["key"] for p in ask_json("polls", f"before:{keys[0]}")] == keys[1:4]
    assert ask_json("poll", "at:0S")["key"] == keys[0]


def _queued(queue):
    job = queue.put(Job(work.answer))
    transaction.commit()
    return job


# The server


@pytest.fixture
def server(db):
    made = monitorserver.start(0, db)
    yield made
    made.close()


def talk(address, *lines):
    """What a server answers, until it closes the connection."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as client:
        client.settimeout(6)
        client.connect(address)
        client.sendall("".join(f"{line}\n" for line in lines).encode())
        answer = b""
        while chunk := client.recv(10_000):
            answer += chunk
        return answer.decode()


def test_the_server_listens_on_the_loopback_address_alone(server):
    assert server.address[0] == "127.0.0.1"


def test_one_command_is_answered_and_the_connection_closed(server, fresh):
    assert talk(server.address, "async UUID", "async utcnow") == f"{fresh.UUID}\n"


def test_interactive_keeps_the_connection_and_an_empty_line_repeats(server, fresh):
    answer = talk(server.address, "interactive", "async UUID", "", "quit", "async UUID")
    assert answer.count(f"{fresh.UUID}\n") == 2
    assert answer.endswith("Goodbye.\n")


def test_the_database_of_the_server_is_looked_at(server, queue):
    queue.put(Job(work.answer))
    transaction.commit()
    assert talk(server.address, "asyncdb count pending") == "1\n"


def test_help_lists_the_commands_and_tells_of_each(server):
    text = talk(server.address, "help")
    for command in ("async", "asyncdb", "help", "interactive", "quit"):
        assert f"  {command} -- " in text
    assert "async help" in talk(server.address, "help async")
    assert "asyncdb help" in talk(server.address, "help asyncdb")
    assert "no command" in talk(server.address, "help x")


def test_a_wrong_command_is_answered_and_the_server_goes_on(server, fresh):
    assert "Invalid command 'GET'" in talk(server.address, "GET / HTTP/1.1", "x: y")
    assert talk(server.address, "async jobs x:y").startswith("ValueError: jobs:")
    assert talk(server.address, "quit") == "Goodbye.\n"


def test_a_line_that_never_ends_is_refused(server):
    answer = talk(server.address, "x" * monitorserver.LINE_LIMIT)
    assert answer.startswith("A line has at most")


def test_commands_can_be_added(server, monkeypatch):
    def hello(connection, name="world"):
        """Say hello."""
        connection.write(f"hello {name}\n")

    monkeypatch.setattr(monitorserver, "COMMANDS", dict(monitorserver.COMMANDS))
    monitorserver.register(hello)
    monitorserver.register(hello, "hi")
    assert talk(server.address, "hi") == "hello world\n"
    assert talk(server.address, "hello you") == "hello you\n"


def test_no_more_than_some_clients_are_served_at_a_time(server, monkeypatch):
    clients = [
        socket.create_connection(server.address)
        for _ in range(monitorserver.MOST_CLIENTS)
    ]
    with pytest.raises((ConnectionError, AssertionError)):
        assert talk(server.address, "quit")
    for client in clients:
        client.close()

    def served():
        try:
            return talk(server.address, "quit")
        except ConnectionError:
            return None

    wait_until(served, "a free place")


def test_a_socket_file_is_for_its_user_and_one_left_behind_is_replaced(tmp_path):
    name = str(tmp_path / "monitor.sock")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(name)
    made = monitorserver.start(name)
    try:
        assert stat.S_IMODE(os.stat(name).st_mode) == 0o600
        assert talk(name, "quit") == "Goodbye.\n"
        with pytest.raises(OSError):
            monitorserver.start(name)
        assert talk(name, "quit") == "Goodbye.\n"
    finally:
        made.close()
    assert not os.path.exists(name)


def test_listening_to_the_network_is_warned_of(caplog):
    made = monitorserver.start(("0.0.0.0", 0))
    made.close()
    assert "without a password" in caplog.text


# The chapter


def test_the_examples_of_the_documentation_run(dispatcher, queue, db, connection):
    wait_for_result(_queued(queue))
    # The poll that claimed it is recorded at its end.
    wait_until(lambda: dispatcher.getStatistics()["started"], "a record")
    names = {"db": db, "connection": connection}
    for name, code in named_blocks("docs/monitor.rst").items():
        exec(compile(code, name, "exec"), names)
    names["monitor"].close()
    assert names["worker"] is dispatcher
    assert names["numbers"]["started"] == 1
    assert names["host"] == "127.0.0.1"
    assert (names["waiting"], names["failed"]) == (0, [])
