"""Coroutines that the tests run."""

from __future__ import annotations

from collective.clockwork.engine import local
from collective.clockwork.engine.job import Job
from collective.clockwork.tests.engine import work
from transaction.interfaces import TransientError

import asyncio


#: A loop holds its tasks weakly.
left: list = []


async def double(value):
    await asyncio.sleep(0)
    return value * 2


async def fail(text):
    await asyncio.sleep(0)
    raise LookupError(text)


async def running_loop():
    return asyncio.get_running_loop()


async def generate():
    yield 1


async def make_something():
    return work.Counter()


async def wait_for_ever(begun, seen):
    begun.set()
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        seen.append("cancelled")
        raise


async def survive():
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return "survived"


async def cancel_itself():
    raise asyncio.CancelledError()


async def leave_a_task(seen):
    async def stay():
        seen.append("begun")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    left.append(asyncio.ensure_future(stay()))
    await asyncio.sleep(0)
    return "left"


async def leave_a_stubborn_task(seen):
    async def stay():
        while len(seen) < 1000:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                seen.append("cancelled")

    task = asyncio.ensure_future(stay())
    seen.append(task)
    await asyncio.sleep(0)
    return asyncio.get_running_loop()


async def leave_a_failing_task():
    async def stay():
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("at the end")

    left.append(asyncio.ensure_future(stay()))
    await asyncio.sleep(0)


async def exit():
    raise SystemExit("from a coroutine")


async def add(counter):
    await asyncio.sleep(0)
    return counter.add()


async def add_and_fail(counter):
    counter.add()
    await asyncio.sleep(0)
    raise ValueError("after the change")


async def add_against_others(counter):
    work.calls["others"] = work.calls.get("others", 0) + 1
    counter.add()
    await asyncio.sleep(0)
    if work.calls["others"] == 1:
        work.elsewhere(counter, lambda fresh: fresh.add(10))
    return counter.count


async def own_callable():
    await asyncio.sleep(0)
    return local.getJob().callable_name


async def fail_once(counter):
    counter.add()
    await asyncio.sleep(0)
    work.calls["tried"] = work.calls.get("tried", 0) + 1
    if work.calls["tried"] == 1:
        raise TransientError("the first time")
    return counter.count


async def add_in_tasks(counter, number):
    return await asyncio.gather(*(add(counter) for _ in range(number)))


async def add_in_tasks_and_fail(counter):
    await asyncio.gather(add(counter), fail("in a task"))


async def own_argument(number):
    await asyncio.sleep(0)
    assert local.getJob().args[0] == number
    return number


async def add_and_wait(counter):
    counter.add()
    work.gate("waiting begun").set()
    try:
        await asyncio.Event().wait()
    finally:
        work.calls["cancelled"] = True


async def put_another():
    await asyncio.sleep(0)
    return local.getQueue().put(Job(work.answer))
