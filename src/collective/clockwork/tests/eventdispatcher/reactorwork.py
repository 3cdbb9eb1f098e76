"""What the tests run in a process of its own, whose reactor runs."""

from __future__ import annotations

from collective.clockwork.eventdispatcher import EventDispatcher
from twisted.internet.defer import DeferredList
from twisted.internet.task import deferLater
from twisted.internet.task import react
from twisted.internet.threads import deferToThread

import threading


async def main(reactor):
    done = []
    here = threading.get_ident()
    dispatcher = EventDispatcher(("user",))
    dispatcher.start()

    async def slow(seconds):
        await deferLater(reactor, seconds)
        done.append(("slow", seconds))

    def in_a_thread(seconds):
        return deferToThread(threading.get_ident).addCallback(
            lambda there: done.append(("thread", there != here))
        )

    async def asks_back(seconds):
        await deferLater(reactor, 0)
        await dispatcher.fire_event(seconds, user="susan")
        done.append(("asked", threading.get_ident() == here))

    dispatcher.add_event_handler(slow, "before")
    dispatcher.add_event_handler(in_a_thread, "during", user="bob")
    dispatcher.add_event_handler(asks_back, "after", user="bob")
    fired = [
        dispatcher.fire_event(0.05, user="bob"),
        dispatcher.fire_event(0, user="susan"),
    ]
    await DeferredList(fired)
    await dispatcher.stop()
    print(done)


if __name__ == "__main__":
    react(main)
