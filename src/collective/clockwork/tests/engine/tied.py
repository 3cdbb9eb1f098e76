"""Run a command that does not outlive the process that starts it.

``python tied.py PARENT COMMAND...``, where PARENT is the id of that process. On
Linux the kernel kills the command when the parent ends, however it ends, and
also if the command is stopped at that moment. Elsewhere it is just run.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys


#: From ``linux/prctl.h``: which signal to get when the parent ends.
PR_SET_PDEATHSIG = 1


def main(parent: str, *command: str) -> None:
    """Become the command."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(parent):
            raise SystemExit(f"process {parent} has ended, so {command} is not run")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(*sys.argv[1:])
