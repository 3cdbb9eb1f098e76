"""``make demo``: the local stack at work, with no person.

An Editor logs in and queues jobs of all kinds by a page of the site; a worker runs
them. What came of it is then asked over HTTP and printed as a table. The exit code
is 0 if every line is as it must be.

With ``--keep`` the stack stays up afterwards, to be looked at, until Ctrl-C.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from sandbox import ports
from sandbox import run
from sandbox.child import ChildDied
from sandbox.demosite.recipes import RECIPES
from sandbox.expectations import Findings
from sandbox.expectations import Line
from sandbox.expectations import lines
from sandbox.people import FOLDER_ID
from sandbox.people import ROOT_USER
from sandbox.run import say
from sandbox.stack import Stack
from sandbox.stack import StackError
from sandbox.visitor import VisitError
from sandbox.visitor import Visitor

import argparse
import contextlib
import requests
import signal
import sys
import tempfile
import time


EDITOR = "editor"

#: Seconds in which all jobs have to be done, the delayed one among them.
JOBS_SECONDS = 90

LOG_LINES = 25

#: More jobs than the demo has.
ALL_JOBS = 1000


#: Seconds in which the schedule has to fire so often.
FIRINGS_SECONDS = 60
FIRINGS = 3


class DemoError(Exception):
    """The demo cannot go on; the text says why."""


def queue_everything(editor: Visitor) -> dict[str, list[str]]:
    """Have each recipe queued; gives the ids of its jobs by the recipe's name."""
    page = f"{FOLDER_ID}/@@try-it"
    return {name: editor.submit(page, recipe=name, answer="json") for name in RECIPES}


def wait_for_jobs(stack: Stack, admin: Visitor) -> dict[str, dict]:
    """Wait until no job waits or runs; gives all of them by id.

    DemoError when that takes too long.
    """
    deadline = time.monotonic() + JOBS_SECONDS
    while True:
        answer = admin.json("@@jobs.json", limit=ALL_JOBS)
        open_jobs = [
            job for job in answer["jobs"] if job["status"] in ("queued", "active")
        ]
        if not open_jobs:
            return {job["id"]: job for job in answer["jobs"]}
        if time.monotonic() > deadline:
            names = ", ".join(
                f"{job['function']} ({job['status']}: {job['reason']})"
                for job in open_jobs
            )
            raise DemoError(f"Not done after {JOBS_SECONDS} seconds: {names}")
        stack.check()
        time.sleep(0.25)


def wait_for_firings(stack: Stack, admin: Visitor) -> list[dict]:
    """Schedule something for each second, wait for some firings, and end it.

    Gives the firings, oldest first. DemoError when that takes too long.
    """
    admin.submit("@@every-second", user=EDITOR)
    deadline = time.monotonic() + FIRINGS_SECONDS
    while True:
        firings = admin.json("@@firings.json")
        done = [each for each in firings if each["status"] == "completed"]
        if len(done) >= FIRINGS:
            admin.submit("@@every-second")
            return list(reversed(done))
        if time.monotonic() > deadline:
            raise DemoError(
                f"A schedule of every second has fired {len(done)} times in "
                f"{FIRINGS_SECONDS} seconds: {firings}"
            )
        stack.check()
        time.sleep(0.25)


def visit(stack: Stack) -> Findings:
    """Queue all, tick, wait for the jobs, and ask what came of it."""
    admin = Visitor.with_password(stack.site_url, ROOT_USER, stack.passwords[ROOT_USER])
    editor = Visitor(stack.site_url)
    editor.log_in(EDITOR, stack.passwords[EDITOR])
    say(f"The {EDITOR} has logged in and queues jobs.")
    queued = queue_everything(editor)
    tick = admin.text("@@tick")
    jobs = wait_for_jobs(stack, admin)
    firings = wait_for_firings(stack, admin)
    return Findings(
        queued=queued,
        jobs=jobs,
        tick=tick,
        firings=firings,
        pages=editor.json(f"{FOLDER_ID}/@@pages.json"),
        root_pages=admin.json("@@pages.json"),
        records=admin.json("@@records.json"),
        editors_view=editor.status("@@jobs.json"),
    )


def print_table(table: list[Line]) -> None:
    """Print the lines, aligned."""
    widths = [
        max(len(getattr(line, column)) for line in table) for column in ("what", "must")
    ]
    say()
    for line in table:
        mark = "ok   " if line.is_right else "WRONG"
        expected = f"{line.what:<{widths[0]}}  {line.must:<{widths[1]}}"
        say(f"  {mark}  {expected}  {line.found}")
    say()


def print_logs(stack: Stack) -> None:
    """Print the last lines of what the worker and the web process logged."""
    for name in ("worker", "web"):
        if name in stack.children:
            say(f"--- the last lines of the log of {name}:")
            say(stack.children[name].tail(LOG_LINES))


def show(stack: Stack, keep: bool) -> int:
    """The demo on a stack that runs; the exit code."""
    started = time.monotonic()
    try:
        table = list(lines(visit(stack)))
    except (VisitError, DemoError, requests.RequestException) as error:
        say(f"The demo has failed: {error}")
        print_logs(stack)
        return 1
    print_table(table)
    wrong = sum(not line.is_right for line in table)
    if wrong:
        say(f"{wrong} of {len(table)} lines are wrong.")
        print_logs(stack)
    else:
        seconds = time.monotonic() - started
        say(f"All {len(table)} lines are as they must be, after {seconds:.0f} seconds.")
    if keep:
        run.describe(stack)
        stack.watch(run.Heartbeat(stack))
    return 1 if wrong else 0


@contextlib.contextmanager
def stopped_at_the_end(stack: Stack) -> Iterator[None]:
    """Stop the stack whatever happens; a second Ctrl-C leaves nothing behind."""
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        stack.stop()
        say("All stopped.")


def main(argv: list[str] | None = None) -> int:
    """Run the demo: 0 if all is as it must be, 1 if not, 130 if interrupted."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.demo", description=__doc__)
    parser.add_argument(
        "--keep", action="store_true", help="leave the stack up until Ctrl-C"
    )
    keep = parser.parse_args(argv).keep
    signal.signal(signal.SIGTERM, run.interrupt)
    signal.signal(signal.SIGINT, run.interrupt)
    say("Starting ZEO, Plone and a worker: this takes half a minute.")
    with tempfile.TemporaryDirectory(prefix="clockwork-demo-") as directory:
        stack = Stack(
            Path(directory), http_port=ports.any_free(), packages=run.PACKAGES
        )
        try:
            with stopped_at_the_end(stack):
                stack.start()
                return show(stack, keep)
        except KeyboardInterrupt:
            return 130
        except (ChildDied, StackError, TimeoutError) as error:
            say(str(error))
            return 1


if __name__ == "__main__":
    sys.exit(main())
