"""A process of ``zeoprocess`` that stops itself while it holds the commit lock.

It does so once, if there is a file ``freeze`` in its directory, in the commit of
a job, not of a claim; it leaves a file ``frozen`` instead.
"""

from __future__ import annotations

from collective.clockwork.tests.engine import zeoprocess
from pathlib import Path
from ZEO.ClientStorage import ClientStorage

import signal
import sys
import threading


class FreezingStorage(ClientStorage):
    """Freezes between the vote and the end of a commit."""

    def tpc_vote(self, txn):
        """As in ClientStorage, and then nothing more."""
        result = super().tpc_vote(txn)
        thread = threading.current_thread()
        if not thread.name.startswith("clockwork-dispatcher"):
            try:
                Path("freeze").rename("frozen")
            except FileNotFoundError:
                return result
            # This thread is then the first to stop: a signal to the process may
            # be taken by another one, some moments later.
            signal.pthread_kill(thread.ident, signal.SIGSTOP)
        return result


if __name__ == "__main__":
    zeoprocess.ClientStorage = FreezingStorage
    zeoprocess.main(*sys.argv[1:])
