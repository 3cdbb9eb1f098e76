"""Which loopback ports the local stack listens on."""

from __future__ import annotations

import socket


HOST = "127.0.0.1"


class PortInUse(Exception):
    """The port that was asked for belongs to another program."""


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def any_free() -> int:
    """A port that the system gives out and that nobody listens on."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def choose(asked: int | None, preferred: int | None = None) -> int:
    """The port to use: what was asked for, else the preferred one, else any.

    Raises PortInUse when the port that was asked for is taken; the preferred one
    gives way silently.
    """
    if asked is not None:
        if not is_free(asked):
            raise PortInUse(
                f"Port {asked} on {HOST} is in use by another program. "
                "Stop that one, or choose another port."
            )
        return asked
    if preferred is not None and is_free(preferred):
        return preferred
    return any_free()


def from_variable(environ: dict[str, str], name: str) -> int | None:
    """The port in an environment variable; None when it isn't set.

    Raises ValueError, naming the variable, for anything but a port number.
    """
    text = environ.get(name, "").strip()
    if not text:
        return None
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise ValueError(f"{name}={text!r} is no port number (1 to 65535).")
    return int(text)
