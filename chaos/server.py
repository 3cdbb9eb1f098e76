"""The ZEO server, and what stands between it and each worker."""

from __future__ import annotations

from collections.abc import Coroutine
from collective.clockwork.tests.engine import zeoprocess
from pathlib import Path

import asyncio
import resource
import threading


#: Bytes that fit in any case: at its end a commit that may have been written since
#: the size was asked for changes a byte near its beginning, which a full disk
#: would let it do. A FileStorage that cannot closes itself for good.
MARGIN = 64


class Server(zeoprocess.Server):
    """A ZEO server that can be killed, and whose disk can be full.

    ``timeout`` is its transaction-timeout in seconds. A run has none: ZEO 6.2
    drops a client that exceeds it, but keeps the commit lock for it.
    """

    def __init__(self, directory: Path, timeout: int | None = None):
        super().__init__(directory, ["main"])
        if timeout is not None:
            text = self.configuration.read_text()
            line = f"  transaction-timeout {timeout}\n</zeo>"
            self.configuration.write_text(text.replace("</zeo>", line))
        self.data = directory / "main.fs"

    def limit(self, room: int | None) -> None:
        """Let the Data.fs grow by so many bytes only; None: as it likes.

        The kernel refuses the rest of a write as it does on a full disk: the
        beginning is written, then an OSError is raised.
        """
        soft = resource.RLIM_INFINITY
        if room is not None:
            soft = self.data.stat().st_size + MARGIN + room
        pid = self.process.process.pid
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


class Proxies:
    """Runs the proxies, in a thread of its own."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def run(self, coroutine: Coroutine):
        """The result of a coroutine that is run in the proxies' thread."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def make(self, target: int) -> Proxy:
        """A proxy that leads to this port."""
        return self.run(Proxy.listening(self, target))

    def close(self) -> None:
        """End all."""
        self.run(self._cancel())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(30)
        self.loop.close()

    async def _cancel(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


class Proxy:
    """The network between one worker and ZEO."""

    def __init__(self, proxies: Proxies, target: int):
        self.proxies = proxies
        self.target = target
        self.port = 0
        self._is_cut = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._flows: asyncio.Event | None = None

    @classmethod
    async def listening(cls, proxies: Proxies, target: int) -> Proxy:
        """A proxy that accepts connections."""
        proxy = cls(proxies, target)
        proxy._flows = asyncio.Event()
        proxy._flows.set()
        server = await asyncio.start_server(proxy._accept, "127.0.0.1", 0)
        proxy.port = server.sockets[0].getsockname()[1]
        proxy._server = server
        return proxy

    def cut(self) -> None:
        """Drop all connections, and accept none."""
        self.proxies.run(self._cut())

    def choke(self) -> None:
        """Let nothing through any more, and tell nobody."""
        self.proxies.run(self._choke())

    def mend(self) -> None:
        """Work again; connections of before that were choked are dropped."""
        self.proxies.run(self._mend())

    async def _cut(self) -> None:
        self._is_cut = True
        self._drop()

    async def _choke(self) -> None:
        self._flows.clear()

    async def _mend(self) -> None:
        self._is_cut = False
        if not self._flows.is_set():
            self._drop()
            self._flows.set()

    def _drop(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _accept(self, reader, writer) -> None:
        if self._is_cut:
            writer.transport.abort()
            return
        try:
            there = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, there[1]}
        await asyncio.gather(
            self._pump(reader, there[1], writer), self._pump(there[0], writer, there[1])
        )

    async def _pump(self, reader, writer, other) -> None:
        try:
            while data := await reader.read(65536):
                await self._flows.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            self._writers -= {writer, other}
        finally:
            writer.transport.abort()
            other.transport.abort()
            self._writers -= {writer, other}
