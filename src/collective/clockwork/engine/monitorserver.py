"""A line server for monitor commands, in the manner of zc.monitor.

zc.monitor cannot be used: the server that it stands on has a module named
``async``, which Python 3 cannot import.

A client sends a line with a command, and gets the answer; then the connection
is closed, unless the command was ``interactive``. There is no password:
whoever can connect can read everything that the commands tell. Hence it
listens on the loopback address, or on a socket file of its user.
"""

from __future__ import annotations

from .commit import log
from .monitor import async_
from .monitordb import asyncdb
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

import inspect
import socket
import socketserver
import threading


#: Seconds that a client may take to send a line.
TIMEOUT = 600
#: Bytes that a line may have.
LINE_LIMIT = 4_096
#: Clients that are served at a time.
MOST_CLIENTS = 10

INTERACTIVE, QUIT = object(), object()


def interactive(connection):
    """Keep the connection open until ``quit``. An empty line repeats the last."""
    connection.write('Interactive mode on.  Use "quit" to exit.\n')
    return INTERACTIVE


def quit(connection):
    """Close the connection."""
    connection.write("Goodbye.\n")
    return QUIT


def help(connection, command: str | None = None) -> None:
    """Tell which commands there are; with a name, more about that one."""
    if command is None:
        connection.write("Supported commands:\n")
        for name in sorted(COMMANDS):
            first = (inspect.getdoc(COMMANDS[name]) or "?").partition("\n")[0]
            connection.write(f"  {name} -- {first}\n")
    elif command in COMMANDS:
        connection.write(
            f"Help for {command}:\n\n{inspect.getdoc(COMMANDS[command])}\n"
        )
    else:
        connection.write(f"There is no command {command!r}\n")


COMMANDS: dict[str, Callable] = {
    "async": async_,
    "asyncdb": asyncdb,
    "help": help,
    "interactive": interactive,
    "quit": quit,
}


def register(command: Callable, name: str | None = None) -> None:
    """Add a command: called with a connection to ``write`` to, and its words."""
    COMMANDS[name or command.__name__] = command


class _Client(socketserver.StreamRequestHandler):
    """What commands get as their connection."""

    timeout = TIMEOUT

    @property
    def db(self):
        """The database of this monitor."""
        return self.server.db

    def write(self, text: str) -> None:
        """Send text to the client."""
        self.wfile.write(text.encode())

    def handle(self) -> None:
        mode, last = QUIT, []
        try:
            while line := self.rfile.readline(LINE_LIMIT):
                if not line.endswith(b"\n") and len(line) == LINE_LIMIT:
                    self.write(f"A line has at most {LINE_LIMIT} bytes.\n")
                    return
                words = line.decode(errors="replace").split() or last
                if words:
                    mode = self.run(words) or mode
                    last = words
                if mode is QUIT:
                    return
        except OSError:
            # The client went away, or said nothing for too long.
            log.debug("a client of the monitor is gone")

    def run(self, words: list[str]):
        """Run one command; returns the mode that it asks for."""
        command = COMMANDS.get(words[0])
        if command is None:
            self.write(f'Invalid command {words[0]!r}\nTry "help".\n')
            return None
        try:
            return command(self, *words[1:])
        except (ConnectionError, TimeoutError):
            raise
        except Exception as error:
            # Wrong arguments for the most part; the server goes on.
            log.info("monitor command %s failed", words, exc_info=True)
            self.write(f"{type(error).__name__}: {error}\n")
            return None


class _Serving:
    """Limits how many are served at a time, in threads that end with the process."""

    daemon_threads = True
    allow_reuse_address = True

    def process_request(self, request, client_address):
        """Serve a client in a thread, unless there are too many."""
        if self.places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request, client_address):
        """In that thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.places.release()


class _TCPServer(_Serving, socketserver.ThreadingTCPServer):
    """On a host and port."""


class _TCP6Server(_TCPServer):
    """On an IPv6 address and port."""

    address_family = socket.AF_INET6


class _UnixServer(_Serving, socketserver.ThreadingUnixStreamServer):
    """On a socket file."""


class Monitor:
    """A server that is listening; see ``start``."""

    def __init__(self, server):
        self._server = server
        self._thread = threading.Thread(
            target=server.serve_forever, name="clockwork-monitor", daemon=True
        )
        self._thread.start()

    @property
    def address(self):
        """Host and port, or the name of the socket file."""
        return self._server.server_address

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        if isinstance(self.address, str):
            Path(self.address).unlink(missing_ok=True)


def start(address: int | tuple[str, int] | str, db=None) -> Monitor:
    """Serve monitor commands at ``address``; ``db`` is what ``asyncdb`` looks at.

    An int is a port of 127.0.0.1 (0: any free one), a pair is host and port, a
    str the name of a socket file, for this user alone. There is no
    authentication. OSError if the address is in use.
    """
    if isinstance(address, str):
        server = _on_file(address)
    else:
        host, port = ("127.0.0.1", address) if isinstance(address, int) else address
        if not _is_loopback(host):
            log.warning(
                "the monitor listens on %s: everybody who can connect to it can "
                "read what jobs do, without a password",
                host,
            )
        kind = _TCP6Server if ":" in host else _TCPServer
        server = kind((host, port), _Client)
    server.db = db
    server.places = threading.BoundedSemaphore(MOST_CLIENTS)
    return Monitor(server)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _on_file(name: str) -> _UnixServer:
    path = Path(name)
    if path.is_socket() and not _answers(name):
        # Left by a process that was killed.
        path.unlink()
    server = _UnixServer(name, _Client, bind_and_activate=False)
    try:
        server.server_bind()
        # Before it listens: nobody else gets in between.
        path.chmod(0o600)
        server.server_activate()
    except OSError:
        server.server_close()
        raise
    return server


def _answers(name: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(name)
        except OSError:
            return False
    return True
