"""A database of its own for each measurement: behind ZEO, or in PostgreSQL.

An address is what a client needs: the port of the ZEO server, or the
connection string of the PostgreSQL database.
"""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from pathlib import Path
from ZEO.ClientStorage import ClientStorage
from ZODB.POSException import ConflictError

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import ZODB


#: Seconds that the server may take to answer.
PATIENCE = 30


class Unavailable(Exception):
    """What a measurement needs is not on this machine."""


class CountingStorage(ClientStorage):
    """A client that counts the conflicts that its commits meet, by who met them."""

    def __init__(self, *args, **options):
        #: Number of ConflictErrors of "claims" and of "others".
        self.conflicts: Counter = Counter()
        super().__init__(*args, **options)

    def tpc_vote(self, txn):
        """As in ClientStorage."""
        try:
            return super().tpc_vote(txn)
        except ConflictError:
            thread = threading.current_thread().name
            claims = thread.startswith("clockwork-dispatcher")
            self.conflicts["claims" if claims else "others"] += 1
            raise


def open_database(address: int | str) -> ZODB.DB:
    """The database at this address; its ``storage`` counts conflicts if it is ZEO's."""
    text = str(address)
    if text.isdigit():
        place = ("127.0.0.1", int(text))
        storage = CountingStorage(place, wait=True, wait_timeout=PATIENCE)
    else:
        storage = _relstorage(text)
    return ZODB.DB(storage, pool_size=20)


def _relstorage(dsn: str):
    from relstorage.adapters.postgresql import PostgreSQLAdapter
    from relstorage.options import Options
    from relstorage.storage import RelStorage

    options = Options(keep_history=False, cache_local_mb=20)
    return RelStorage(PostgreSQLAdapter(dsn=dsn, options=options), options=options)


def free_port() -> int:
    """A port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """``runzeo`` in a fresh directory; a context manager, which stops it."""

    def __init__(self):
        self.directory = Path(tempfile.mkdtemp(prefix="clockwork-bench-"))
        self.data = self.directory / "Data.fs"
        self.address = free_port()

    def __enter__(self) -> Server:
        command = [sys.executable, "-m", "ZEO.runzeo"]
        command += ["-a", f"127.0.0.1:{self.address}", "-f", str(self.data)]
        with open(self.directory / "zeo.log", "wb") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self.directory
            )
        try:
            self._wait_until_it_listens()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _wait_until_it_listens(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.address), 1).close()
                return
            except OSError as error:
                if self.process.poll() is None and time.monotonic() < deadline:
                    time.sleep(0.05)
                    continue
                said = (self.directory / "zeo.log").read_text()[-2000:]
                raise RuntimeError(f"the ZEO server did not start:\n{said}") from error

    def __exit__(self, *_error) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def size(self) -> int:
        """Bytes in the Data.fs."""
        return self.data.stat().st_size


class Postgres:
    """A PostgreSQL database of its own; a context manager, which drops it.

    Raises Unavailable where no server answers or RelStorage is not installed.
    """

    def __init__(self):
        self.name = f"clockwork_bench_{os.getpid()}"
        self.address = f"host=127.0.0.1 user=postgres dbname={self.name}"

    def _run(self, statement: str) -> None:
        import psycopg2

        place = "host=127.0.0.1 port=5432 user=postgres dbname=postgres"
        with closing(psycopg2.connect(place, connect_timeout=5)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)

    def __enter__(self) -> Postgres:
        try:
            import psycopg2
            import relstorage  # noqa: F401
        except ImportError as error:
            raise Unavailable(f"{error}: install the extra [relstorage]") from error
        try:
            self._run(f"CREATE DATABASE {self.name}")
        except psycopg2.OperationalError as error:
            raise Unavailable(f"no PostgreSQL answers: {error}") from error
        return self

    def __exit__(self, *_error) -> None:
        self._run(f"DROP DATABASE IF EXISTS {self.name} WITH (FORCE)")
