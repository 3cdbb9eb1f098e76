"""Jobs whose function is ``async def``: an event loop in each worker thread.

The coroutine runs in the thread that would run a plain function, so it has the same
connection and transaction: what it changes is committed when it has ended. A cancel and
a timeout reach it as asyncio's cancellation, at its next ``await``.
"""

from __future__ import annotations

from .commit import log
from .control import Control
from collections.abc import AsyncGenerator
from collections.abc import Coroutine

import asyncio
import threading


#: Seconds that tasks which a job left behind get to end when they are cancelled.
PATIENCE = 5


class _Thread(threading.local):
    """What a thread has."""

    #: Its loop; None before it is first needed.
    loop: asyncio.AbstractEventLoop | None = None


_thread = _Thread()


def finish(value, control: Control | None = None):
    """What a function's call gave: a coroutine is run, anything else returned.

    Raises TypeError for an async generator, and what ``run`` raises.
    """
    if isinstance(value, Coroutine):
        return run(value, control)
    if isinstance(value, AsyncGenerator):
        raise TypeError(
            f"the function gave {value!r}: an async function that yields cannot be a "
            "job, because nobody takes what it yields; use return"
        )
    return value


def run(coroutine: Coroutine, control: Control | None = None):
    """Run it to its end in this thread's loop, and return its result.

    Raises what the coroutine raises; CancelledError or JobTimeoutError when it was
    cancelled by ``control``; RuntimeError in a thread whose event loop is running, and
    for a coroutine that was cancelled from inside.
    """
    if _is_in_loop():
        coroutine.close()
        raise RuntimeError(
            "an async job was called in a running event loop, in which it would block "
            "all others: call it in a thread, for instance by asyncio.to_thread"
        )
    control = Control() if control is None else control
    loop = _loop()
    task = loop.create_task(coroutine)
    timed_out = threading.Event()
    timer = None

    def time_out() -> None:
        timed_out.set()
        task.cancel()

    if control.seconds_left is not None:
        timer = loop.call_later(max(0.0, control.seconds_left), time_out)
    try:
        with control.watched(lambda: loop.call_soon_threadsafe(task.cancel)):
            return loop.run_until_complete(task)
    except asyncio.CancelledError as error:
        control.check()
        if timed_out.is_set():
            # The loop's clock may be a little ahead of ours.
            raise control.timeout_error() from error
        raise RuntimeError("the coroutine was cancelled, but not by its job") from error
    finally:
        if timer is not None:
            timer.cancel()
        _end_tasks(loop)


def close_loop() -> None:
    """Close this thread's loop, if it has one; called when the thread ends."""
    loop, _thread.loop = _thread.loop, None
    if loop is None:
        return
    try:
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


def _is_in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _loop() -> asyncio.AbstractEventLoop:
    if _thread.loop is None:
        _thread.loop = asyncio.new_event_loop()
    return _thread.loop


def _end_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what the job has left running: its transaction is about to end."""
    # Lets generators that the coroutine has left half used begin to close.
    loop.run_until_complete(asyncio.sleep(0))
    tasks = asyncio.all_tasks(loop)
    if not tasks:
        return
    for task in tasks:
        task.cancel()
    done, pending = loop.run_until_complete(asyncio.wait(tasks, timeout=PATIENCE))
    for task in done:
        if not task.cancelled() and task.exception() is not None:
            log.error("a task that a job had left failed", exc_info=task.exception())
    if pending:
        # They must not go on in the next job's transaction.
        log.error("tasks that a job had left do not end: %r", pending)
        close_loop()
