"""What a real Plone job costs with our machinery, over the function in a loop.

The site is made anew behind a ZEO server of its own, with the configuration
files of the local stack.
"""

from __future__ import annotations

from pathlib import Path
from server import free_port
from server import PATIENCE

import json
import os
import socket
import subprocess
import sys
import tempfile
import time


HERE = Path(__file__).parent
#: Seconds that all of it may take.
LONGEST = 400


def plone_job(count: int, rounds: int = 3) -> dict:
    """Figures by key: jobs and bare calls per second, and their ratio."""
    sys.path.insert(0, str(HERE.parent))
    from sandbox.configuration import Configuration

    with tempfile.TemporaryDirectory(prefix="clockwork-bench-") as folder:
        zeo_port = free_port()
        configuration = Configuration(Path(folder), zeo_port, free_port())
        zeo_conf = configuration.write_zeo()
        zope_conf = configuration.write_zope("instance", "single_db_instance.zcml")
        with open(Path(folder) / "zeo.log", "wb") as log:
            command = [sys.executable, "-m", "ZEO.runzeo", "-C", str(zeo_conf)]
            server = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            _wait_for(zeo_port)
            command = [sys.executable, str(HERE / "plonework.py"), str(zope_conf)]
            said = subprocess.run(
                [*command, str(count), str(rounds)],
                env={**os.environ, "ZC_ASYNC_UUID": f"{folder}/instance/uuid.txt"},
                stdout=subprocess.PIPE,
                text=True,
                timeout=LONGEST,
                check=True,
            )
        finally:
            server.terminate()
            server.wait()
    return json.loads(said.stdout.splitlines()[-1])


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
