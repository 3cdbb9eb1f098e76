"""What a running job can ask about itself: ``from ...engine import local``."""

from __future__ import annotations

from . import live

import threading


class Local(threading.local):
    """One per thread; filled by the worker around each job."""

    #: The job or callback being run, from this thread's own connection.
    job = None
    #: The Run of that job or callback; see ``attempt``.
    run = None
    #: What the claimed job is asked to do; see ``control``. None outside of a worker.
    control = None
    #: The dispatcher that this worker thread belongs to.
    dispatcher = None
    #: Name of the agent that claimed the job.
    agent_name = None
    #: Event that is set when this thread's dispatcher stops.
    stopping = None
    #: Jobs other than the one being run that this thread brought to their end.
    finished = None
    #: Jobs of this thread that wait for a Deferred nobody watches yet.
    promises = None

    def getJob(self):
        """The job, or callback, running in this thread; None outside of one."""
        return self.job

    def getQueue(self):
        """The queue of the running job; AttributeError outside of one."""
        return self.job.queue

    def getDispatcher(self):
        """The dispatcher whose worker thread this is; None elsewhere."""
        return self.dispatcher

    def getReactor(self):
        """The reactor that the dispatcher was given; None without one."""
        return getattr(self.dispatcher, "reactor", None)

    def getAgentName(self):
        """Name of the agent that claimed the running job; None elsewhere."""
        return self.agent_name

    def setLiveAnnotation(self, name: str, value, job=None) -> None:
        """Note something on the running job that others see at once.

        Committed on its own, so it stays when the job is rolled back. Plain
        values only. ValueError outside of a job unless one is given.
        """
        live.set_annotation(self._job_or(job), name, value)

    def getLiveAnnotation(self, name: str, default=None, timeout=0, poll=1, job=None):
        """What was noted on the job by now, by whomever.

        Waits up to ``timeout`` seconds for it, looking every ``poll`` seconds;
        then gives ``default``. ValueError outside of a job unless one is given.
        """
        return live.get_annotation(self._job_or(job), name, default, timeout, poll)

    def _job_or(self, job):
        found = self.job if job is None else job
        if found is None or found._p_jar is None:
            raise ValueError("not initialized: there is no job in this thread")
        return found


local = Local()
