"""``make run``: the local stack, until Ctrl-C.

Variables: CLOCKWORK_VAR, the directory of the data (``./var``);
CLOCKWORK_HTTP_PORT (8080 if free, else another); CLOCKWORK_ZEO_PORT (a free one).
"""

from __future__ import annotations

from datetime import timedelta
from sandbox import people
from sandbox import ports
from sandbox.child import ChildDied
from sandbox.stack import Stack
from sandbox.stack import StackError

import os
import signal
import sys
import time


#: Packages that the sites of the local stack have besides the add-on.
PACKAGES = ("sandbox.demosite",)


def say(text: str = "") -> None:
    """Print a line so that it is seen at once, into a pipe as well."""
    print(text, flush=True)


def stack_from_variables(environ: dict[str, str], **options) -> Stack:
    """The stack that the environment variables describe.

    Raises ValueError or :class:`sandbox.ports.PortInUse`, naming the variable.
    """
    asked = {}
    for option, name in (
        ("http_port", "CLOCKWORK_HTTP_PORT"),
        ("zeo_port", "CLOCKWORK_ZEO_PORT"),
    ):
        asked[option] = ports.from_variable(environ, name)
        if asked[option] is not None and not ports.is_free(asked[option]):
            raise ports.PortInUse(
                f"{name}={asked[option]}: this port is in use by another program. "
                f"Stop that one, choose another port, or leave {name} out."
            )
    directory = environ.get("CLOCKWORK_VAR") or "var"
    return Stack(directory, **asked, **options)


def describe(stack: Stack) -> None:
    """Print what one needs to know to use the running stack."""
    say()
    say(f"  Plone       {stack.site_url}")
    say(f"  try it      {stack.site_url}/{people.FOLDER_ID}/@@try-it")
    say(f"  jobs        {stack.site_url}/@@background-jobs")
    say(f"  data, logs  {stack.configuration.var}")
    say()
    say("  Users, with passwords of this run:")
    for name, password in stack.passwords.items():
        roles = ", ".join(people.ROLES[name])
        say(f"    {name:<10} {password:<18} {roles}")
    say()


class Heartbeat:
    """Shows that all processes live: on a terminal as a clock, else each minute."""

    def __init__(self, stack: Stack) -> None:
        self.processes = ", ".join(f"{c.name} {c.pid}" for c in stack.children.values())
        self.terminal = sys.stdout.isatty()
        self.started = time.monotonic()
        self.next_line = self.started

    def __call__(self) -> None:
        now = time.monotonic()
        if now < self.next_line:
            return
        self.next_line += 1 if self.terminal else 60
        age = timedelta(seconds=int(now - self.started))
        line = f"  {age} all alive ({self.processes}). Ctrl-C stops them."
        print(line, end="\r" if self.terminal else "\n", flush=True)


def interrupt(signum: int, frame: object) -> None:
    """Let SIGTERM do what Ctrl-C does."""
    raise KeyboardInterrupt


def main() -> int:
    """Run the stack until it is interrupted (0) or cannot go on (1)."""
    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGINT, interrupt)
    try:
        stack = stack_from_variables(os.environ, packages=PACKAGES)
    except (ValueError, ports.PortInUse) as error:
        print(error, file=sys.stderr)
        return 1
    say("Starting ZEO, Plone and a worker: this takes half a minute.")
    try:
        stack.start()
        describe(stack)
        stack.watch(Heartbeat(stack))
    except KeyboardInterrupt:
        say("\nStopping web, worker and ZEO.")
        return 0
    except (ChildDied, StackError, TimeoutError) as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        # A second Ctrl-C must not leave processes behind.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if stack.children:
            stack.stop()
            say("All stopped.")


if __name__ == "__main__":
    sys.exit(main())
