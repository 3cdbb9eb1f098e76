"""Clocks in a real instance that buildout made with plone.recipe.zope2instance.

The buildout is offline: it finds everything where the tests found it.
"""

from __future__ import annotations

from collective.clockwork.engine.testing import wait_until
from collective.clockwork.tests.acceptance.clockaddon import makesite
from collective.clockwork.tests.acceptance.clockaddon.recording import LISTS
from collective.clockwork.tests.engine import zeoprocess
from importlib.util import find_spec
from pathlib import Path
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage

import pytest
import signal
import subprocess
import sys


NEEDED = ("zc.buildout", "plone.recipe", "plone.recipe.zope2instance")

if any(find_spec(name) is None for name in NEEDED):
    pytest.skip(
        "pip install zc.buildout plone.recipe.zope2instance, to have buildout make "
        "an instance",
        allow_module_level=True,
    )

#: Seconds that anything may take on a busy machine.
PATIENCE = 150

ADDON = makesite.__name__.rpartition(".")[0]

BUILDOUT = f"""\
[buildout]
parts = instance
offline = true
newest = false

[instance]
recipe = plone.recipe.zope2instance
eggs = collective.clockwork
zcml = {ADDON}
user = admin:secret
http-address = 127.0.0.1:0
zodb-temporary-storage = off
environment-vars =
    CLOCK_PASSWORD secret
zope-conf-imports =
    collective.clockwork
zope-conf-additional =
    <clocks all>
      <clock-server>
        method /Plone/@@tick
        period 1
        user admin
        password-env CLOCK_PASSWORD
      </clock-server>
      <clock-server>
        method /Plone/@@tick_hourly
        period 1
        user admin
        password secret
        host www.example.org
      </clock-server>
    </clocks>
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The directory of a buildout that has run, with a Plone site."""
    home = tmp_path_factory.mktemp("buildout")
    (home / "buildout.cfg").write_text(BUILDOUT)
    run(home, sys.executable, "-c", "from zc.buildout.buildout import main; main()")
    return home


def run(home: Path, *command: object) -> str:
    ended = subprocess.run(
        [str(each) for each in command],
        cwd=home,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def stored(home: Path) -> dict[str, list]:
    """The lists of the site, while no process has the database open."""
    storage = FileStorage(str(home / "var" / "filestorage" / "Data.fs"), read_only=True)
    db = DB(storage)
    try:
        with db.transaction() as connection:
            site = connection.root()["Application"]["Plone"]
            return {name: list(getattr(site, name)) for name in LISTS}
    finally:
        db.close()


@pytest.mark.timeout(4 * PATIENCE)
def test_an_instance_of_buildout_has_clocks_when_it_serves(home):
    script = home / "bin" / "instance"
    # `run` opens the database and serves nothing.
    assert "clocks: []" in run(home, script, "run", makesite.__file__)

    instance = zeoprocess.Process([str(script), "console"], home / "said.log")
    try:
        for name in ("all/1 (/Plone/@@tick)", "all/2 (/Plone/@@tick_hourly)"):
            success = f"The clock-server {name}: 200 OK"
            wait_until(lambda text=success: text in instance.said(), success, PATIENCE)
        assert instance.stop() == -signal.SIGTERM
    finally:
        instance.end()

    assert "The clock-servers are stopped" in instance.said()
    assert "Traceback" not in instance.said()
    entries = stored(home)
    assert len(entries["ticks"]) == 1
    assert entries["hours"]
    (hours,) = {entry[:2] for entry in entries["hours"]}
    assert hours == ("http://www.example.org/Plone", "admin")
