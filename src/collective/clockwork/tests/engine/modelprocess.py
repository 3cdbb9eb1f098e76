"""A worker process of the model, which jobs bring down and in which threads hang."""

from __future__ import annotations

from collective.clockwork.engine.deaths import ALONE_FIRST
from collective.clockwork.tests.engine.modeljobs import DIES
from collective.clockwork.tests.engine.modeljobs import HANGS
from collective.clockwork.tests.engine.stepping import Actor
from collective.clockwork.tests.engine.stepping import Process
from itertools import permutations


class Supervised(Process):
    """Ends where one of its jobs kills it, and is then started again.

    Its ``world`` is asked about jobs, and told before it ends. Threads that hang are
    left alone until they are woken up.
    """

    def __init__(self, db, uuid, world):
        super().__init__(db, uuid)
        self.world = world

    @property
    def hanging(self) -> list[Actor]:
        """Threads that do not come back by themselves."""
        return [worker for worker in self.workers if worker.where == HANGS]

    def _given_up(self, worker: Actor) -> bool:
        return any(worker.thread.name in pool._lost for pool in self.pools)

    def _may_hang(self, worker: Actor) -> bool:
        return all(each.ticket.timeout is None for each in self.running(worker))

    def start_work(self) -> bool:
        """Let a thread take a run of jobs; one that was given up is replaced."""
        at_work = [worker for worker in self.workers if not self._given_up(worker)]
        for pool in self.pools:
            if pool.has_work and len(at_work) < pool.size:
                self.workers.append(self._worker(pool))
                self._check_solitude()
                return True
        return False

    def work(self, index: int) -> None:
        """One step of one of its threads that do not hang."""
        awake = [worker for worker in self.workers if worker.where != HANGS]
        if awake:
            self.step(awake[index % len(awake)])

    def wake(self, index: int, patient: bool = False) -> bool:
        """Let one that hangs go on; whether there was one.

        With ``patient`` only such with jobs that may take any time.
        """
        hanging = self.hanging
        if patient:
            hanging = [each for each in hanging if self._may_hang(each)]
        if hanging:
            self.step(hanging[index % len(hanging)])
        return bool(hanging)

    def finish(self, worker: Actor) -> None:
        """Let one of its threads come to its end, and wake it up where it hangs."""
        while worker in self.workers:
            self.step(worker)

    def go_on(self) -> None:
        """Let all its threads come to the end of what they are at, or hang."""
        while self.poller is not None:
            self.poll()
        while self.start_work() or len(self.workers) > len(self.hanging):
            self.work(0)

    def step(self, worker: Actor) -> None:
        """One step of this thread, which may be the end of the process."""
        worker.step()
        self._check_solitude()
        if worker.where == DIES:
            (running,) = self.running(worker)
            self.world.note_death(self, running.ticket)
            stopped = self.dispatcher.stopping.is_set()
            self.kill()
            if not stopped:
                # As a supervisor does: the new one has its identity.
                self.__init__(self.db, self.uuid, self.world)
        else:
            self.workers = [each for each in self.workers if not each.ended]

    def _check_solitude(self) -> None:
        """Beside what may have killed before, nothing is begun for a while: 9."""
        for pool in self.pools:
            for first, second in permutations(pool.running.values(), 2):
                if first.ticket.identity == second.ticket.identity:
                    # It was taken away from a thread, and has come again.
                    continue
                apart = second.since - first.since
                least = max(first.ticket.alone, second.ticket.alone and ALONE_FIRST)
                if 0 <= apart < least and self.world.is_begun(self, first, second):
                    raise AssertionError(
                        f"{second.ticket} was begun {apart} s after {first.ticket}"
                    )
