"""A ZEO server of its own for each measurement, with an empty FileStorage."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from ZEO.ClientStorage import ClientStorage
from ZODB.POSException import ConflictError

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


def open_database(port: int) -> ZODB.DB:
    """The database behind this port; its ``storage`` is a CountingStorage."""
    storage = CountingStorage(("127.0.0.1", port), wait=True, wait_timeout=PATIENCE)
    return ZODB.DB(storage, pool_size=20)


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
        self.port = free_port()

    def __enter__(self) -> Server:
        command = [sys.executable, "-m", "ZEO.runzeo"]
        command += ["-a", f"127.0.0.1:{self.port}", "-f", str(self.data)]
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
                socket.create_connection(("127.0.0.1", self.port), 1).close()
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
