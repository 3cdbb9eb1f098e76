"""Workers in other processes that are asked to pause, to cancel, or to stop."""

from __future__ import annotations

from collective.clockwork.engine.cancelling import ASKED
from collective.clockwork.engine.errors import CancelledError
from collective.clockwork.engine.explain import explain
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.tests.engine import stopping
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine.zeoprocess import PATIENCE
from datetime import timedelta

import signal
import time
import transaction


def agents_of(stack) -> list:
    transaction.begin()
    return [agents["main"] for agents in stack.queue.dispatchers.values()]


def say(what: str, since: float, until: float | None = None) -> None:
    """Print a duration, for those who run this with -s."""
    print(f"{what}: {(until or time.time()) - since:.3f} s")


def test_two_workers_see_a_pause_and_its_end(stack):
    for _worker in range(2):
        stack.worker(poll_interval=3600)
    path = stack.file("times")
    jobs = [stack.queue.put(Job(stopping.note_time, str(path))) for _ in range(1500)]
    transaction.commit()
    wait_until(lambda: len(lines(path)) > 30, "the first jobs", PATIENCE)
    transaction.begin()
    stack.queue.pause("jane", "we move")
    transaction.commit()
    paused_at = time.time()
    wait_until(lambda: not any(map(len, agents_of(stack))), "giving back", PATIENCE)
    begun = lines(path)
    say("the last job began after the pause", paused_at, float(begun[-1]))
    left = list(stack.queue)
    assert len(left) == len(jobs) - len(begun)
    # What was queued first was run first, and what is left is in its order.
    assert left == [job for job in jobs if job._status == 0]
    assert explain(left[0]).code == "paused"
    stack.queue.resume()
    transaction.commit()
    resumed_at = time.time()
    for job in jobs:
        assert stack.result(job) is None
    say("the first began after the end", resumed_at, float(lines(path)[len(begun)]))
    assert len(lines(path)) == len(jobs)


def lines(path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def test_a_worker_whose_threads_are_all_busy_hears_of_a_cancel(stack):
    counter = stack.root["counter"]
    stack.worker(threads=2, poll_interval=3600)
    jobs = [put_checking(stack, number) for number in range(2)]
    behind = stack.queue.put(work.answer)
    transaction.commit()
    for number in range(2):
        wait_until(stack.file(f"begun {number}").exists, "beginning", PATIENCE)
    for job in jobs:
        transaction.begin()
        assert job.cancel("jane", "not needed") == ASKED
        transaction.commit()
        asked_at = time.time()
        result = stack.result(job)
        say("it ended after the cancel", asked_at)
        assert result.check(CancelledError)
        assert (result.value.by, result.value.reason) == ("jane", "not needed")
        assert explain(job).code == "cancelled"
    assert stack.result(behind) == 42
    assert counter.count == 0


def put_checking(stack, number):
    path = str(stack.file(f"begun {number}"))
    job = Job(stopping.check_often_file, stack.root["counter"], path)
    return stack.queue.put(job)


def test_a_request_that_the_worker_does_not_live_to_hear_is_kept(stack):
    killed = stack.worker(threads=1)
    job = put_checking(stack, 0)
    transaction.commit()
    wait_until(stack.file("begun 0").exists, "beginning", PATIENCE)
    killed.process.send_signal(signal.SIGSTOP)
    transaction.begin()
    assert job.cancel("jane") == ASKED
    transaction.commit()
    killed.kill()
    stack.worker(uuid=killed.uuid)
    assert stack.result(job).check(CancelledError)
    transaction.begin()
    assert len(stack.file("begun 0").read_text()) == 0
    assert stack.root["counter"].count == 0
    wait_until(lambda: len_of_cancels(stack) == 1, "forgetting it", PATIENCE)


def len_of_cancels(stack) -> int:
    transaction.begin()
    return len(stack.queue.cancels)


def test_a_resumable_job_stops_at_a_chunk_and_loses_no_attempt(stack):
    worker = stack.worker(threads=1)
    counter = stack.root["counter"]
    begun, gate = stack.file("begun"), stack.file("gate")
    job = Job(stopping.count_until_file, counter, str(begun), str(gate), 300)
    stack.queue.put(job)
    transaction.commit()
    wait_until(begun.exists, "beginning", PATIENCE)
    assert worker.stop() == 0
    transaction.begin()
    done = counter.count
    assert 0 < done < 300
    assert list(stack.queue) == [job]
    assert (job._tries, job.deaths.count if job.deaths else 0) == (0, 0)
    gate.touch()
    stack.worker(threads=1)
    assert stack.result(job) == 300
    transaction.begin()
    assert counter.count == 300, "no item twice, and none left out"


def test_a_stop_gives_groups_back_in_their_order(stack):
    worker = stack.worker(threads=1, grace=0.2)
    counter = stack.root["counter"]
    running = stack.put_behind_gate(counter)
    transaction.commit()
    wait_until(stack.file("begun").exists, "beginning", PATIENCE)
    jobs = [stack.queue.put(Job(counter.add), groupable=True) for _number in range(40)]
    transaction.commit()
    assert worker.stop() == 0
    transaction.begin()
    assert list(stack.queue) == [running, *jobs]
    assert counter.count == 0
    stack.file("gate").touch()
    stack.worker(threads=1)
    assert [stack.result(job) for job in (running, *jobs)] == list(range(1, 42))


def test_a_running_job_gets_its_grace_however_often_it_is_asked(stack):
    worker = stack.worker(threads=1, grace=PATIENCE)
    counter = stack.root["counter"]
    running = stack.put_behind_gate(counter)
    transaction.commit()
    wait_until(stack.file("begun").exists, "beginning", PATIENCE)
    behind = stack.queue.put(Job(work.answer))
    transaction.commit()
    for _time in range(2):
        worker.process.terminate()
    stack.file("gate").touch()
    assert worker.wait() == 0
    transaction.begin()
    assert running.result == 1
    assert counter.count == 1
    assert list(stack.queue) == [behind]
    assert stack.queue.dispatchers[worker.uuid].activated is None


def test_one_that_stops_slowly_is_not_taken_for_dead(stack):
    worker = stack.worker(threads=1, grace=PATIENCE)
    counter = stack.root["counter"]
    running = stack.put_behind_gate(counter)
    transaction.commit()
    wait_until(stack.file("begun").exists, "beginning", PATIENCE)
    agents = stack.queue.dispatchers[worker.uuid]
    agents.ping_interval = timedelta(seconds=0.1)
    agents.ping_death_interval = timedelta(seconds=1)
    transaction.commit()
    other = stack.worker(threads=1)
    ask_to_stop(worker)
    asked_at = agents.last_ping

    def has_lived_on() -> bool:
        transaction.begin()
        return agents.last_ping - asked_at > 3 * agents.ping_death_interval

    wait_until(has_lived_on, "signs of life", PATIENCE)
    stack.file("gate").touch()
    assert worker.wait() == 0, worker.said()
    assert stack.result(running) == counter.count == 1
    assert stack.pids("begun") == [str(worker.process.pid)]
    assert f"dispatcher {worker.uuid} is silent" not in other.said()


def ask_to_stop(worker) -> None:
    """Return when it has begun to stop."""
    worker.process.terminate()
    wait_until(lambda: "is stopping" in worker.said(), "hearing of it", PATIENCE)
    transaction.begin()


def test_a_job_hears_of_a_cancel_while_its_worker_stops(stack):
    worker = stack.worker(threads=1, grace=PATIENCE)
    job = put_checking(stack, 0)
    transaction.commit()
    wait_until(stack.file("begun 0").exists, "beginning", PATIENCE)
    ask_to_stop(worker)
    assert job.cancel("jane", "not needed") == ASKED
    transaction.commit()
    assert worker.wait() == 0, worker.said()
    transaction.begin()
    assert job.result.check(CancelledError)
    assert stack.root["counter"].count == 0
