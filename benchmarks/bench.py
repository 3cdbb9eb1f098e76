"""``make bench``: how fast the queue is on this machine, over ZEO.

Every speed is given as a ratio to the bare commits per second of the same run,
because those differ by a quarter from one run to the next on the same machine.
The table goes to the terminal and the figures to ``latest.json`` beside this
file. A target that is missed is shown, and is no error.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from datetime import timezone
from importlib.metadata import version
from pathlib import Path
from server import Postgres
from server import Unavailable
from statistics import mean

import argparse
import dispatcher
import json
import measures
import os
import platform
import plonejob
import scale
import sys
import time


LATEST = Path(__file__).parent / "latest.json"

#: Key to what must be reached now, what is aimed at, and which way is better.
TARGETS: dict[str, tuple[float | None, float | None, str]] = {
    "drain_noop_ratio": (0.35, 0.85, ">="),
    "drain_write_ratio": (0.35, 0.70, ">="),
    "drain_noop_ratio_2x2": (None, None, ">="),
    "drain_write_ratio_2x2": (None, None, ">="),
    "drain_noop_ratio_4x2": (None, None, ">="),
    "drain_write_ratio_4x2": (None, None, ">="),
    "drain_grouped_ratio": (None, 3.0, ">="),
    "relstorage_drain_write_ratio": (None, 0.75, ">="),
    "plone_job_ratio": (None, 0.8, ">="),
    "claim_scale_100k": (None, 1.5, "<="),
    "dispatch_100k_ratio": (3, 3, "<="),
    "endtoend_ratio": (None, 0.42, ">="),
    "endtoend_grouped_ratio": (None, None, ">="),
    "quota1_ratio": (None, 0.55, ">="),
    "enqueue_ratio": (0.5, 0.8, ">="),
    "start_latency_ms": (25, 5, "<="),
    "start_latency_ms_p95": (None, 10, "<="),
    "result_latency_ms": (50, 9, "<="),
    "producer_conflicts": (0, 0, "<="),
    "idle_cpu_percent": (2, 1, "<="),
    "idle_bytes_per_day": (None, 1_000_000, "<="),
    "bytes_per_job": (None, 1250, "<="),
    "bytes_per_job_packed": (None, 260, "<="),
}


#: Suffix of the keys, worker processes, and threads of each.
SHAPES = (("", 1, 3), ("_2x2", 2, 2), ("_4x2", 4, 2))


class Run:
    """One run: what was measured so far, by key."""

    def __init__(self, small: bool):
        self.small = small
        #: Bare commits per second, taken between all the others.
        self.bare: list[float] = []
        self.per_second: dict[str, float] = {}
        self.ratios: dict[str, float] = {}
        self.figures: dict[str, float | None] = {}
        #: Most that a worker held in memory, in MB.
        self.memory = 0.0

    def scaled(self, count: int) -> int:
        """So many, or a fifth for a small run."""
        return count // 5 if self.small else count

    def measure(self, what: str, call: Callable, *arguments):
        """Say what is measured, and return what it gives."""
        begun = time.monotonic()
        print(f"{what} ... ", end="", file=sys.stderr, flush=True)
        found = call(*arguments)
        print(f"{time.monotonic() - begun:.0f} s", file=sys.stderr)
        return found

    def all(self) -> dict:
        """Measure everything; returns figures by key."""
        self.measure_bare()
        self.measure_drains()
        self.measure_producers()
        self.measure_postgres()
        self.measure_claims()
        self.figures |= self.measure(
            "events with 100,000 handlers", dispatcher.dispatch_scale
        )
        self.figures |= self.measure(
            "a real Plone job", plonejob.plone_job, self.scaled(200)
        )
        self.figures |= self.measure(
            "latency on an idle worker", measures.latency, self.scaled(120), 20
        )
        self.figures |= self.measure("idle worker", measures.idle, self.scaled(12))
        return {"zeo_commits_per_s": mean(self.bare), **self.ratios, **self.figures}

    def measure_bare(self) -> None:
        """The limit, taken again and again because it drifts."""
        commits = self.scaled(1500)
        self.bare.append(self.measure("bare commits", measures.bare_commits, commits))

    def note(self, key: str, per_second: float) -> None:
        """Note a speed, against the limit before and after it."""
        self.measure_bare()
        self.per_second[key] = per_second
        self.ratios[key] = per_second / mean(self.bare[-2:])

    def measure_drains(self) -> None:
        """Jobs that were queued before."""
        jobs = self.scaled(3000)
        for kind, write in (("noop", False), ("write", True)):
            for suffix, processes, threads in SHAPES:
                found = self.measure(
                    f"drain of {jobs} {kind} jobs, {processes} x {threads} threads",
                    measures.drain,
                    *(jobs, write, processes, threads),
                )
                self.note(f"drain_{kind}_ratio{suffix}", found["per_second"])
                if found["memory"] is not None:
                    self.memory = max(self.memory, found["memory"])
                for who in ("claim", "job"):
                    key = f"drain_{kind}_{who}_conflicts{suffix}"
                    self.figures[key] = found[f"{who}_conflicts"]
        self.measure_groups()
        self.figures["worker_memory_mb"] = self.memory or None
        self.note(
            "quota1_ratio",
            self.measure(
                f"{jobs} jobs in a quota of size 1", measures.quota_of_one, jobs
            ),
        )

    def measure_groups(self) -> None:
        """Jobs that may share a transaction: more of them, since they take less."""
        jobs = 3 * self.scaled(3000)
        found = self.measure(
            f"drain of {jobs} groupable write jobs, 1 x 3 threads",
            lambda: measures.drain(jobs, True, 1, 3, groupable=True),
        )
        self.note("drain_grouped_ratio", found["per_second"])
        self.figures["drain_grouped_job_conflicts"] = found["job_conflicts"]

    def measure_producers(self) -> None:
        """Jobs that are put one in a transaction."""
        jobs = self.scaled(2000)
        self.note("enqueue_ratio", self.measure(f"{jobs} puts", measures.enqueue, jobs))
        self.figures |= self.measure("bytes of a job", measures.growth, jobs)
        self.note(
            "endtoend_ratio",
            self.measure(
                f"{jobs} puts while a worker runs them", measures.end_to_end, jobs
            ),
        )
        self.note(
            "loaded_commits_ratio",
            self.measure(
                "bare commits of objects to be loaded", measures.loaded_commits, jobs
            ),
        )
        self.note(
            "endtoend_grouped_ratio",
            self.measure(
                f"{jobs} groupable puts while a worker runs them",
                *(measures.end_to_end, jobs, True),
            ),
        )
        self.note(
            "endtoend_limit_ratio",
            self.measure("bare commits by two processes", measures.two_processes, jobs),
        )
        found = self.measure(
            "4 producers while 2 workers run the jobs",
            measures.conflicts,
            *(4, self.scaled(500)),
        )
        self.figures |= found

    def measure_postgres(self) -> None:
        """The drain over RelStorage, against its own bare rate."""
        jobs = self.scaled(1500)
        try:
            before = self.measure(
                "bare commits, PostgreSQL", measures.bare_commits, jobs, Postgres
            )
            found = self.measure(
                f"drain of {jobs} write jobs, PostgreSQL",
                *(measures.drain, jobs, True, 1, 3, Postgres),
            )
            after = self.measure(
                "bare commits, PostgreSQL", measures.bare_commits, jobs, Postgres
            )
        except Unavailable as error:
            print(f"left out, {error}", file=sys.stderr)
            return
        bare = (before + after) / 2
        self.figures["relstorage_commits_per_s"] = bare
        self.figures["relstorage_drain_write_ratio"] = found["per_second"] / bare

    def measure_claims(self) -> None:
        """What a claim costs with few and with many jobs waiting."""
        many = self.scaled(scale.MANY)
        self.figures |= self.measure(
            f"claims with {many:,} waiting jobs", scale.claim_scale, scale.FEW, many
        )


def machine() -> dict:
    """What the figures depend on."""
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "ZODB": version("ZODB"),
        "ZEO": version("ZEO"),
    }


def rounded(value: float | None) -> float | None:
    """Three digits that mean something."""
    if value is None or isinstance(value, int):
        return value
    return round(value, 3) if abs(value) < 100 else round(value)


def print_table(figures: dict) -> None:
    """Key, value, what it must be now, and what is aimed at."""
    print(f"{'key':<32}{'value':>12}  {'target':<14}{'goal':<14}")
    for key, value in figures.items():
        target, goal, sign = TARGETS.get(key, (None, None, ""))
        line = f"{key:<32}{'-' if value is None else rounded(value):>12}  "
        line += f"{'' if target is None else f'{sign} {target}':<14}"
        line += f"{'' if goal is None else f'{sign} {goal:,}':<14}"
        if value is not None and target is not None:
            reached = value >= target if sign == ">=" else value <= target
            line += "ok" if reached else "MISSED"
        print(line.rstrip())


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="a fifth of everything, in less time"
    )
    options = parser.parse_args()
    run = Run(options.quick)
    figures = run.all()
    print_table(figures)
    written = {key: rounded(value) for key, value in figures.items()}
    written["quick"] = options.quick
    written["jobs_per_s"] = {k: rounded(v) for k, v in run.per_second.items()}
    written["zeo_commits_per_s_each"] = [rounded(value) for value in run.bare]
    written["machine"] = machine()
    LATEST.write_text(json.dumps(written, indent=2) + "\n")
    print(f"written to {os.path.relpath(LATEST)}")


if __name__ == "__main__":
    main()
