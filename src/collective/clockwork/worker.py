"""A worker process: a Zope that serves no port and runs jobs.

``clockwork-worker path/to/zope.conf`` starts one. What makes the process a worker
is in its configuration, not here: the ``site.zcml`` of its instance home includes
``single_db_worker.zcml`` or ``multi_db_worker.zcml``, whose subscribers start the
dispatcher once Zope has opened its databases. This module starts Zope, waits, and
on SIGTERM or SIGINT lets the dispatcher end what it is doing before the databases
are closed.

It logs to the standard error stream, as supervisors like it. With ``--supervise`` it
is one itself: it runs the worker as a child and starts it again when it died; see
``engine.supervisor``.
"""

from __future__ import annotations

from App.config import getConfiguration
from App.config import setConfiguration
from collective.clockwork import clockthread
from collective.clockwork import monitorport
from collective.clockwork.engine import dispatcher
from collective.clockwork.engine import instanceuuid
from collective.clockwork.engine.supervisor import supervise
from collective.clockwork.schedules import scheduler
from ZEO.Exceptions import ClientDisconnected
from Zope2.Startup import get_wsgi_starter
from Zope2.Startup.handlers import handleWSGIConfig
from Zope2.Startup.options import ZopeWSGIOptions

import argparse
import logging
import os
import signal
import socket
import sys
import threading


logger = logging.getLogger("collective.clockwork.worker")

#: Seconds without an answer after which the log says that a storage is awaited.
PATIENCE = 5.0

#: The log line by which a supervisor or a script knows that jobs are being run.
READY = "This worker is ready."


class Worker:
    """One Zope process that runs jobs, from its configuration to its end."""

    def __init__(self, zope_conf: str, grace: float = dispatcher.GRACE) -> None:
        self.zope_conf = zope_conf
        #: Seconds that the running jobs get to end when the process is stopped.
        self.grace = grace
        self._stop_asked = False
        self._starting = True
        #: What is sent to the bell ends a wait on the ear.
        self._ear, self._bell = socket.socketpair()
        self._bell.setblocking(False)

    def run(self) -> int:
        """Start, run jobs until :meth:`stop`, end. Gives the exit code.

        0 is an orderly end, 2 says that the configuration makes no worker.
        """
        try:
            self._start()
            if not dispatcher.all_dispatchers():
                logger.error(
                    "%s starts no dispatcher, so this process would run no job. "
                    "Include single_db_worker.zcml or multi_db_worker.zcml of "
                    "collective.clockwork in the site.zcml of its instance home.",
                    self.zope_conf,
                )
                return 2
            logger.info(READY)
            self.wait_for_stop()
            logger.info("Stopping: no new jobs, those that run may end.")
            return 0
        except StoppedWhileStarting:
            logger.info("Stopped before the start was complete.")
            return 0
        finally:
            clockthread.stop()
            scheduler.stop()
            stop_dispatchers(self.grace)
            monitorport.stop()
            close_databases()

    def stop(self, signum: int | None = None, frame: object = None) -> None:
        """End the process in order; see :meth:`stop_at_signals`."""
        self._stop_asked = True
        if self._starting:
            self._starting = False
            raise StoppedWhileStarting
        self._bell.send(b"!")

    def stop_at_signals(self, *signals: int) -> None:
        """Let these signals end the process in order. In the main thread only."""
        # Python calls handlers between two of its instructions. A signal right before
        # a wait without end would not end it, so the interpreter rings itself.
        signal.set_wakeup_fd(self._bell.fileno(), warn_on_full_buffer=False)
        for number in signals:
            signal.signal(number, self.stop)

    def wait_for_stop(self) -> None:
        """Return when somebody has called :meth:`stop`."""
        # No Event: a handler that sets it while the same thread begins to wait for it
        # would wait for that thread.
        while not self._stop_asked:
            self._ear.recv(1)

    def _start(self) -> None:
        options = ZopeWSGIOptions(configfile=self.zope_conf)()
        handleWSGIConfig(options.configroot, options.confighandlers)
        setConfiguration(options.configroot)
        open_databases(options.configroot.dbtab)
        starter = get_wsgi_starter()
        starter.setConfiguration(options.configroot)
        starter.prepare()
        self._starting = False


class StoppedWhileStarting(BaseException):
    """Raised by the signal that ends a worker which has not started yet.

    It derives from BaseException, because the storages that are being opened at
    that moment must not take it for a failure of theirs and try again.
    """


def open_databases(dbtab) -> None:
    """Open all databases of a Zope configuration, however long their servers take.

    Zope finds them open afterwards. Without this, a worker that is started
    together with its ZEO server, or before it, would give up after ZEO's
    ``wait-timeout``. That a storage is awaited is logged once.
    """
    for mount_path, name in dbtab.listMountPaths():
        notice = threading.Timer(
            PATIENCE,
            logger.warning,
            ("Database %r does not answer yet. Waiting until it does.", name),
        )
        notice.daemon = True
        notice.start()
        try:
            _open_database(dbtab, mount_path)
        finally:
            notice.cancel()


def _open_database(dbtab, mount_path: str) -> None:
    while True:
        try:
            dbtab.getDatabase(mount_path, is_root=mount_path == "/")
            return
        except ClientDisconnected:
            logger.debug("No ZEO server yet for %r, trying again.", mount_path)


def stop_dispatchers(grace: float) -> None:
    """Deactivate all dispatchers of this process, even if one of them fails.

    Jobs that run longer than `grace` seconds are interrupted; another worker, or
    this one when it is back, runs them again.
    """
    for each in dispatcher.all_dispatchers():
        if not each.activated:
            continue
        try:
            each.deactivate(grace)
        except Exception:
            logger.exception("Dispatcher %s did not stop in order.", each.UUID)


def close_databases() -> None:
    """Close all databases that are open."""
    configuration = getConfiguration()
    dbtab = getattr(configuration, "dbtab", None)
    for database in list(dbtab.databases.values()) if dbtab else ():
        database.close()


def use_uuid_file_of(zope_conf: str) -> None:
    """Let this process have the UUID file that the worker will have.

    A configuration may name it in its ``environment`` section.
    """
    options = ZopeWSGIOptions(configfile=zope_conf)()
    path = options.configroot.environment.get(instanceuuid.key)
    if path is not None:
        os.environ[instanceuuid.key] = path


def child_command(arguments: argparse.Namespace) -> list[str]:
    """How to run the worker of these arguments, without a supervisor."""
    module = sys.modules["__main__"].__spec__
    program = [sys.argv[0]] if module is None else ["-m", module.name]
    return [
        sys.executable,
        *program,
        arguments.zope_conf,
        "--grace",
        str(arguments.grace),
        "--log-level",
        arguments.log_level,
    ]


def main(argv: list[str] | None = None) -> int:
    """Run a worker: the console script ``clockwork-worker``."""
    parser = argparse.ArgumentParser(
        prog="clockwork-worker",
        description="Runs the background jobs of a Zope or Plone configuration "
        "until SIGTERM or SIGINT.",
    )
    parser.add_argument("zope_conf", help="the zope.conf of the worker")
    parser.add_argument(
        "--grace",
        type=float,
        default=dispatcher.GRACE,
        metavar="SECONDS",
        help="how long running jobs may go on after SIGTERM (%(default)s)",
    )
    parser.add_argument(
        "--log-level",
        default="INFO",
        type=str.upper,
        choices=("DEBUG", "INFO", "WARNING", "ERROR"),
        help="what to log on the standard error stream (%(default)s)",
    )
    parser.add_argument(
        "--supervise",
        action="store_true",
        help="run the worker as a child, start it again when it died, and keep what "
        "it died of with the jobs that it was running",
    )
    arguments = parser.parse_args(argv)
    logging.basicConfig(
        level=arguments.log_level,
        format="%(asctime)s %(levelname)s [%(name)s] %(message)s",
    )
    if arguments.log_level == "INFO":
        # At this level ZEO would report each of its attempts to connect.
        logging.getLogger("ZEO.asyncio.client").setLevel(logging.WARNING)
    if arguments.supervise:
        use_uuid_file_of(arguments.zope_conf)
        return supervise(child_command(arguments))
    worker = Worker(arguments.zope_conf, arguments.grace)
    worker.stop_at_signals(signal.SIGTERM, signal.SIGINT)
    return worker.run()


if __name__ == "__main__":
    sys.exit(main())
