"""``make chaos``: thousands of jobs, hundreds of faults, and what came of it.

``python -m chaos.run [--short] [--limit SECONDS] [SEED]``. What is queued and what
goes wrong follows from the seed; when exactly, also from the machine. None of its
processes outlives it, however it ends.
"""

from __future__ import annotations

from chaos import checks
from chaos import plan
from chaos import stages
from chaos.producer import SIZES
from chaos.stack import Stack
from collections import Counter
from collective.clockwork.engine.interfaces import KEY
from pathlib import Path

import argparse
import faulthandler
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import transaction


#: Seconds after the last fault within which the producers must end, and then the next
#: of the jobs.
DRAIN = 240
#: Seconds of the quiet window: several times the death interval.
QUIET = 8
#: Of how many starts of a killed worker one is under a new name.
NEW_NAME = 8


class Run:
    """One run, from the first process to the verdict."""

    def __init__(self, directory: Path, seed: int, size_name: str):
        self.seed = seed
        self.size_name = size_name
        self.size = SIZES[size_name]
        self.directory = directory
        self.faults = plan.faults(seed, self.size)
        self.chance = random.Random(f"{seed} starts")
        self.injected: Counter = Counter()
        self.found: list[str] = []
        self.jobs = 0
        #: How many jobs ended how.
        self.outcomes: Counter = Counter()
        #: Name of a part of the run to how many seconds it took.
        self.took: dict[str, float] = {}
        #: Pairs of moment and what to do then.
        self.later: list[tuple] = []
        self.seen: set[str] = set()

    def go(self) -> list[str]:
        """Do it all; returns what was violated."""
        self.stack = Stack(self.directory)
        try:
            self._do("start", self._start)
            self._do("faults", self._inject)
            self._do("calm", self._calm)
            self._do("drain", self._drain)
            self._do("verdict", self._judge)
        finally:
            self.stack.close()
        return self.found

    def _do(self, name: str, part) -> None:
        begun = time.monotonic()
        try:
            part()
        finally:
            self.took[name] = time.monotonic() - begun

    def _start(self) -> None:
        self.stack.prepare(self.size.producers)
        seconds = sum(fault.pause for fault in self.faults)
        self.workers = [self.stack.worker(n) for n in range(self.size.workers)]
        self.producers = [
            self.stack.producer(n, self.seed, self.size_name, seconds * 0.9)
            for n in range(self.size.producers)
        ]

    # Faults

    def _inject(self) -> None:
        for fault in self.faults:
            self._watch(fault.pause)
            getattr(self, f"_{fault.name.replace(' ', '_')}")(fault)
        # Stages that were armed late, or that nobody came to.
        while self._kills() < self.size.kills:
            self._watch(self.chance.uniform(0.1, self.size.pause))
            self._kill(plan.Fault(0, "kill", self.chance.randrange(1000), 0))

    def _kills(self) -> int:
        return sum(n for name, n in self.injected.items() if name.startswith("kill"))

    def _watch(self, seconds: float) -> None:
        """Let that time pass; start what ended, continue what was stopped."""
        until = time.monotonic() + seconds
        while True:
            self._note_taken()
            now = time.monotonic()
            for entry in [entry for entry in self.later if entry[0] <= now]:
                self.later.remove(entry)
                entry[1]()
            for actor in self.stack.actors:
                self._revive(actor)
            if now >= until:
                return
            time.sleep(min(0.05, max(0.0, until - now)))

    def _note_taken(self) -> None:
        for path in stages.taken(self.directory).iterdir():
            if path.name in self.seen:
                continue
            self.seen.add(path.name)
            stage, name, _ = path.name.split(".")
            if stage == stages.FROZEN_AT:
                self.injected["frozen holding the commit lock"] += 1
                seconds = self.chance.uniform(5, 9)
                worker = next(w for w in self.workers if w.name == name)
                worker.frozen_until = time.monotonic() + seconds
            else:
                self.injected[f"kill {stages.KILLED_AT[stage]}"] += 1

    def _revive(self, actor) -> None:
        now = time.monotonic()
        if actor.frozen_until is not None and actor.frozen_until <= now:
            actor.frozen_until = None
            actor.signal(signal.SIGCONT)
        if actor.code in (None, 0):
            return
        if actor.code != -signal.SIGKILL:
            self.found.append(f"{actor.name} ended by itself with {actor.code}")
        if actor.due <= now:
            actor.frozen_until = None
            if actor in self.workers and not self.chance.randrange(NEW_NAME):
                actor.rename()
            actor.start()

    def _worker(self, fault):
        return self.workers[fault.target % len(self.workers)]

    def _kill(self, fault) -> None:
        if fault.stage is not None:
            (stages.armed(self.directory) / fault.stage).touch()
            return
        worker = self._worker(fault)
        if worker.code is None:
            worker.due = time.monotonic() + fault.seconds
            worker.signal(signal.SIGKILL)
            worker.process.wait()
            self.injected["kill at any moment"] += 1

    def _producer_kill(self, fault) -> None:
        producer = self.producers[fault.target % len(self.producers)]
        if producer.code is None:
            producer.due = time.monotonic() + fault.seconds
            producer.signal(signal.SIGKILL)
            producer.process.wait()
            self.injected["producer killed"] += 1

    def _freeze(self, fault) -> None:
        worker = self._worker(fault)
        if worker.code is None and worker.frozen_until is None:
            worker.signal(signal.SIGSTOP)
            worker.frozen_until = time.monotonic() + fault.seconds
            self.injected["frozen past the death interval"] += 1

    def _vote_freeze(self, fault) -> None:
        (stages.armed(self.directory) / stages.FROZEN_AT).touch()

    def _restart(self, fault) -> None:
        if fault.target % 2:
            self.stack.server.process.kill()
            self.injected["ZEO killed and started"] += 1
        else:
            self.stack.server.process.process.terminate()
            self.stack.server.process.wait()
            self.injected["ZEO stopped and started"] += 1
        self._watch(fault.seconds)
        self.stack.server.start()

    def _cut(self, fault) -> None:
        proxy = self._worker(fault).proxy
        if fault.target % 2:
            proxy.cut()
            self.injected["connection to ZEO cut"] += 1
        else:
            proxy.choke()
            self.injected["connection to ZEO silent"] += 1
        self.later.append((time.monotonic() + 2 * fault.seconds, proxy.mend))

    def _full_disk(self, fault) -> None:
        self.stack.server.limit(fault.target)
        self._watch(fault.seconds)
        self.stack.server.limit(None)
        self.injected["disk of ZEO full"] += 1

    # The end

    def _calm(self) -> None:
        """Put right what is wrong, and let the producers end."""
        for path in stages.armed(self.directory).iterdir():
            path.unlink(missing_ok=True)
        while self.later:
            self._watch(0.2)
        deadline = time.monotonic() + DRAIN
        while any(producer.code != 0 for producer in self.producers):
            self._watch(0.2)
            if time.monotonic() > deadline:
                self.found.append("the producers did not come to their end")
                return

    def _drain(self) -> None:
        left, deadline = None, 0.0
        while count := self.stack.look(checks.count_unfinished):
            if left is None or count < left:
                # A slow machine is no violation; standing still is.
                left, deadline = count, time.monotonic() + DRAIN
            elif time.monotonic() > deadline:
                return
            self.injected["jobs set aside"] += self.stack.look(discard_set_aside)
            self._watch(2)

    def _judge(self) -> None:
        before = self.stack.look(checks.snapshot)
        self._watch(QUIET)
        after = self.stack.look(checks.snapshot)
        for name, what in after.items():
            if before[name] != what:
                self.found.append(f"{name} changed after its end: {before[name]}")
        self.found += self.stack.look(
            lambda root: checks.violations(root, self.directory)
        )
        self.jobs = self.stack.look(checks.count_jobs)
        self.outcomes = self.stack.look(checks.outcomes)
        self.injected["poison jobs"] = self.size.poison
        self.injected["results that cannot be stored"] = self.outcomes["TypeError"]
        self.injected["results of 2 MB"] = self.size.large
        self.injected["jobs that hang past their timeout"] = self.size.hanging
        for worker in self.workers:
            starts = worker.starts - 1
            self.injected["workers started again"] += starts

    def table(self) -> str:
        """What was injected, and what came of it, for the terminal."""
        lines = [f"{'fault':<55}{'injected':>9}"]
        lines += [f"{name:<55}{n:>9}" for name, n in sorted(self.injected.items())]
        lines.append(f"{'kills in all':<55}{self._kills():>9}")
        lines.append("")
        lines.append(f"{'jobs':<55}{self.jobs:>9}")
        lines += [f"  {name:<53}{n:>9}" for name, n in self.outcomes.most_common()]
        lines.append("")
        parts = ", ".join(f"{name} {n:.0f}" for name, n in self.took.items())
        seconds = sum(self.took.values())
        lines.append(f"{len(self.found)} violations in {seconds:.0f} s ({parts})")
        return "\n".join(lines)


def discard_set_aside(root) -> int:
    """Fail the jobs that are in quarantine, as somebody has to; returns how many."""
    quarantine = root[KEY][""].quarantine
    jobs = list(quarantine)
    for job in jobs:
        quarantine.discard(job)
    transaction.commit()
    return len(jobs)


def main() -> int:
    """Run it; exit code 1 if anything was violated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="half a minute only")
    parser.add_argument("--limit", type=int, help="end after so many seconds")
    parser.add_argument("seed", nargs="?", type=int)
    options = parser.parse_args()
    if options.limit is not None:
        # Says where each thread is, and ends this process and thereby all others.
        faulthandler.dump_traceback_later(options.limit, exit=True)
    seed = random.randrange(1_000_000) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    directory = Path(tempfile.mkdtemp(prefix="clockwork-chaos-"))
    run = Run(directory, seed, "short" if options.short else "long")
    try:
        found = run.go()
    except Exception:
        traceback.print_exc()
        print(run.table())
        print(f"seed {seed}: the run broke off; its files are in {directory}")
        return 2
    print(run.table())
    for text in found[:50]:
        print(f"VIOLATED: {text}")
    if found:
        print(f"seed {seed}; logs and the database are in {directory}")
        return 1
    shutil.rmtree(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
