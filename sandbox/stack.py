"""A ZEO server, a Plone site served by one web process, and workers.

For ``make run``, for the demo and for tests::

    with Stack(directory) as stack:
        requests.get(stack.site_url, auth=("editor", stack.passwords["editor"]))

Everything listens on loopback only, and all data is below one directory: a later
stack on the same directory goes on where this one stopped, with new passwords.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from sandbox import people
from sandbox import ports
from sandbox.child import Child
from sandbox.child import ChildDied
from sandbox.configuration import Configuration

import json
import os
import secrets
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zc.lockfile


ROOT = Path(__file__).parent.parent
SITE_ID = "Plone"

#: Seconds that a process may take until it answers; a busy machine is slow.
START_SECONDS = 180

#: The port that `make run` uses when it is free and none was asked for.
PREFERRED_HTTP_PORT = 8080

WORKER_READY = "This worker is ready."


class StackError(Exception):
    """The stack cannot be started; the text says why and what to do."""


class Stack:
    """The processes, by name: ``zeo``, ``web``, and one per worker."""

    def __init__(
        self,
        var_dir: str | os.PathLike,
        *,
        http_port: int | None = None,
        zeo_port: int | None = None,
        packages: tuple[str, ...] = (),
        two_databases: bool = False,
    ) -> None:
        """Raises :class:`sandbox.ports.PortInUse` if a port asked for is taken.

        `packages` names packages whose ``configure.zcml`` is loaded as well, in
        the web process and in the workers. With `two_databases` the queues are
        in a database of their own.
        """
        var = Path(var_dir).absolute()
        self.configuration = Configuration(
            var=var,
            zeo_port=ports.choose(zeo_port),
            http_port=ports.choose(http_port, PREFERRED_HTTP_PORT),
            packages=packages,
            two_databases=two_databases,
        )
        self.url = f"http://{ports.HOST}:{self.configuration.http_port}"
        self.site_url = f"{self.url}/{SITE_ID}"
        self.passwords = {name: secrets.token_urlsafe(12) for name in people.ROLES}
        self.children: dict[str, Child] = {}
        self._lock: zc.lockfile.LockFile | None = None

    def __enter__(self) -> Stack:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything and return when the site answers and a worker runs.

        Whatever goes wrong, nothing stays behind. Raises StackError when the data
        are in use, :class:`sandbox.child.ChildDied` when a process ends.
        """
        var = self.configuration.var
        var.mkdir(parents=True, exist_ok=True)
        try:
            self._lock = zc.lockfile.LockFile(str(var / "stack.lock"))
        except zc.lockfile.LockError as error:
            raise StackError(
                f"Another local stack runs on the data in {var}. Stop it, or name "
                "another directory: make CLOCKWORK_VAR=/another/directory run"
            ) from error
        try:
            self.start_zeo()
            self.set_up_site()
            self.start_web()
            self.start_worker()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop what runs: the web first, then the workers, then ZEO."""
        for name in sorted(self.children, key=_stop_order):
            self.children[name].stop()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def check(self) -> None:
        """Raises :class:`sandbox.child.ChildDied` if a process has ended."""
        for child in self.children.values():
            if not child.alive:
                raise ChildDied(child)

    def watch(self, on_look: Callable[[], None]) -> None:
        """Look twice a second whether all processes live, and call `on_look`.

        Ends only by an exception, such as ChildDied.
        """
        while True:
            self.check()
            on_look()
            time.sleep(0.5)

    def start_zeo(self) -> None:
        """Start the ZEO server, for the first time or again."""
        path = self.configuration.write_zeo()
        zeo = self._child("zeo", [_script("runzeo"), "-C", str(path)])
        zeo.start()
        port = self.configuration.zeo_port
        zeo.wait_until(lambda: not ports.is_free(port), START_SECONDS)

    def set_up_site(self) -> None:
        """Create the site and the users, or give existing users new passwords."""
        path = self.configuration.write_zope("setup", "instance")
        result = subprocess.run(
            [sys.executable, "-m", "sandbox.site", str(path)],
            input=json.dumps(self.passwords),
            capture_output=True,
            text=True,
            env=self._environ(),
            cwd=ROOT,
            start_new_session=True,
        )
        log = self.configuration.logs / "setup.log"
        log.write_text(result.stdout + result.stderr, encoding="utf-8")
        if result.returncode != 0:
            lines = "\n".join(result.stderr.splitlines()[-20:])
            raise StackError(f"The site was not made ({log}):\n\n{lines}")

    def start_web(self) -> None:
        """Start the web process and wait until it serves the site."""
        self.configuration.write_zope("web", "instance")
        path = self.configuration.write_wsgi("web")
        web = self._child("web", [_script("runwsgi"), str(path)])
        web.start()
        web.wait_until(self._site_answers, START_SECONDS)

    def start_worker(self, name: str = "worker", wait: bool = True) -> Child:
        """Start a worker, for the first time or again under the same UUID.

        `wait` until it runs jobs; without, it may still be starting.
        """
        path = self.configuration.write_zope(name, "worker")
        command = [_script("clockwork-worker"), str(path)]
        worker = self._child(name, command)
        worker.start()
        if wait:
            worker.wait_until(lambda: worker.has_logged(WORKER_READY), START_SECONDS)
        return worker

    def stop_worker(self, name: str = "worker") -> None:
        """Stop a worker in order (SIGTERM)."""
        self.children.pop(name).stop()

    def kill_worker(self, name: str = "worker") -> None:
        """Kill a worker (SIGKILL), as a power failure would."""
        self.children.pop(name).kill()

    def _child(self, name: str, command: list[str]) -> Child:
        child = Child(
            name,
            command,
            log=self.configuration.logs / f"{name}.log",
            environ=self._environ(),
            directory=ROOT,
        )
        self.children[name] = child
        return child

    def _environ(self) -> dict[str, str]:
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}

    def _site_answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.site_url, timeout=60) as response:
                return response.status == 200
        except urllib.error.HTTPError as error:
            raise StackError(
                f"{self.site_url} answers {error.code} {error.reason}. See "
                f"{self.configuration.logs / 'web.log'}"
            ) from error
        except OSError:
            return False


def _script(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def _stop_order(name: str) -> int:
    return {"web": 0, "zeo": 2}.get(name, 1)
