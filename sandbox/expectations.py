"""What the demo must have brought about, line by line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from sandbox.demosite import chapters
from sandbox.demosite.recipes import DELAY
from sandbox.demosite.recipes import SERIAL_WORDS


EDITOR = "editor"

#: Seconds after its time in which a held job has to begin, others before it or not.
LATE = 30

#: What docutils puts on a page where it did not understand the source.
COMPLAINTS = ("system message", "system-message", "problematic")


@dataclass(frozen=True)
class Findings:
    """What the instance has answered after the jobs were done."""

    #: Ids of the jobs that were queued, by the recipe's name.
    queued: dict[str, list[str]]
    #: All jobs of the site by id, as @@jobs.json tells them.
    jobs: dict[str, dict]
    #: What @@tick answered.
    tick: str
    #: What a schedule of every second has fired, oldest first.
    firings: list[dict]
    #: Pages of the folder and of the site root, by id.
    pages: dict[str, dict]
    root_pages: dict[str, dict]
    records: list[dict]
    #: HTTP status of the Editor's own request for @@jobs.json.
    editors_view: int

    def job(self, recipe: str, number: int = 0) -> dict:
        """One of the jobs of a recipe; an empty one where it isn't told."""
        ids = self.queued[recipe]
        return self.jobs.get(ids[number], {}) if number < len(ids) else {}

    def called(self, function: str, *arguments: object) -> dict:
        """The job of this function that has these first arguments."""
        start = ", ".join(map(repr, arguments))
        for job in self.jobs.values():
            name = job["function"].rpartition(".")[2]
            if name == function and job["arguments"].startswith(start):
                return job
        return {}

    def recorded(self, kind: str) -> list[str]:
        """The texts of the records of this kind."""
        return [each["text"] for each in self.records if each["kind"] == kind]


@dataclass(frozen=True)
class Line:
    """One line of the table."""

    what: str
    must: str
    found: str
    is_right: bool


def lines(findings: Findings) -> Iterator[Line]:
    """All lines."""
    for name in chapters.names():
        yield from chapter_lines(findings, name)
    yield serial_line(findings)
    yield parallel_line(findings)
    yield forbidden_line(findings)
    yield from callback_lines(findings)
    yield delayed_line(findings)
    yield tick_line(findings)
    yield schedule_line(findings)
    yield users_line(findings)
    yield privacy_line(findings)


def equal(what: str, must: str, found: object) -> Line:
    """A line that is right if what was found reads as it must."""
    return Line(what, must, str(found), str(found) == must)


def status(job: dict) -> str:
    """A job's status, or that there is none."""
    return job.get("status", "no such job")


def chapter_lines(findings: Findings, name: str) -> Iterator[Line]:
    """The page of a chapter, and the jobs that made and submitted it."""
    page = findings.pages.get(name)
    title = chapters.convert(name).title
    must = f"{title!r} by {EDITOR}, pending"
    if page is None:
        yield Line(f"page {name}", must, "no such page", False)
    else:
        found = f"{page['title']!r} by {page['creator']}, {page['state']}"
        yield equal(f"page {name}", must, found)
        html = page["html"].lower()
        complaints = [word for word in COMPLAINTS if word in html]
        text = ", ".join(complaints) or ("clean" if "<p>" in html else "no text")
        yield equal("  its text", "clean", text)
    made = status(findings.called("create_chapter", name))
    submitted = status(findings.called("submit_page", name))
    yield equal("  its jobs", "completed, completed", f"{made}, {submitted}")


def serial_line(findings: Findings) -> Line:
    """The batch that adds words to a page one after the other."""
    page = findings.pages.get("serial-batch", {})
    found = f"{status(findings.job('serial'))}: {page.get('description')}"
    return equal("serial batch", f"completed: {' '.join(SERIAL_WORDS)}", found)


def parallel_line(findings: Findings) -> Line:
    """The batch that counts words, against a count of our own."""
    names = chapters.names()
    counts = [findings.called("count_words", name).get("result") for name in names]
    ours = [str(len(chapters.source(name).split())) for name in names]
    found = f"{status(findings.job('parallel'))}: {', '.join(map(str, counts))}"
    return equal("parallel batch", f"completed: {', '.join(ours)}", found)


def forbidden_line(findings: Findings) -> Line:
    """The job that its user may not do."""
    job = findings.job("forbidden")
    error = (job.get("error") or "no error").partition(":")[0]
    made = "a page" if "forbidden-page" in findings.root_pages else "no page"
    found = f"{status(job)}: {error}, {made}"
    return equal("page in the site root", "failed: Unauthorized, no page", found)


def callback_lines(findings: Findings) -> Iterator[Line]:
    """The two jobs with callbacks."""
    found = [status(findings.job("callbacks", number)) for number in (0, 1)]
    yield equal("jobs with callbacks", "completed, failed", ", ".join(found))
    yield equal("  success called with", "7.0", "; ".join(findings.recorded("success")))
    failures = "; ".join(findings.recorded("failure"))
    yield equal("  failure called with", "division by zero", failures)


def delayed_line(findings: Findings) -> Line:
    """The job that was held."""
    job = findings.job("delayed")
    must = f"begun after {DELAY.seconds} s, at most {LATE} s later"
    if not job.get("started"):
        return Line("delayed job", must, status(job), False)
    started, queued, due = (
        datetime.fromisoformat(job[name]) for name in ("started", "queued_at", "due")
    )
    late = (started - due).total_seconds()
    held = (started - queued).total_seconds()
    found = f"{status(job)}: after {held:.2f} s, {late:.3f} s after it was due"
    # It is queued a moment after its time was reckoned from the clock.
    is_held = (due - queued).total_seconds() > DELAY.total_seconds() - 1
    is_right = status(job) == "completed" and 0 <= late <= LATE and is_held
    return Line(
        "delayed job", must, found, is_right and "delayed-page" in findings.pages
    )


def tick_line(findings: Findings) -> Line:
    """The tick, which a later request sees recorded."""
    ticks = findings.recorded("tick")
    found = f"{findings.tick}: {'; '.join(ticks) or 'nothing recorded'}"
    is_right = len(ticks) == 1 and found.startswith("OK: by admin, ")
    return Line("tick over HTTP", "OK: recorded once, by admin", found, is_right)


def schedule_line(findings: Findings) -> Line:
    """The schedule: a firing in each second, with one job each, as its user."""
    moments = [datetime.fromisoformat(each["slot"]) for each in findings.firings]
    steps = {
        (later - earlier).total_seconds()
        for earlier, later in zip(moments, moments[1:], strict=False)
    }
    jobs = {each["job"] for each in findings.firings}
    users = set(findings.recorded("firing"))
    found = f"{len(jobs)} jobs {', '.join(sorted(users)) or 'that recorded nothing'}"
    is_right = (
        steps == {1.0} and len(jobs) == len(moments) and users == {f"by {EDITOR}"}
    )
    return Line("schedule", f"a job each second by {EDITOR}", found, is_right)


def users_line(findings: Findings) -> Line:
    """Whose jobs these were."""
    users = sorted({str(job["user"]) for job in findings.jobs.values()})
    found = f"{', '.join(users)}: {len(findings.jobs)}"
    # Two for each chapter and one that counts it; a batch with its four steps.
    number = 3 * len(chapters.names()) + 1 + 5 + 1 + 2 + 1
    return equal("users and their jobs", f"{EDITOR}: {number}", found)


def privacy_line(findings: Findings) -> Line:
    """The list of jobs is not for Editors."""
    must = "refused"
    is_right = findings.editors_view in (302, 401, 403)
    found = f"{must if is_right else 'answered'} ({findings.editors_view})"
    return Line("the Editor asks for all jobs", must, found, is_right)
