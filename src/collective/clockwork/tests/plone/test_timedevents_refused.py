"""Start-up with the old collective.timedevents installed beside ours."""

from __future__ import annotations

from collective.clockwork.tests.plone import instancehome
from pathlib import Path

import os
import subprocess
import sys


START = """
import sys
from Zope2.Startup.run import make_wsgi_app
make_wsgi_app({}, sys.argv[1])
print("started")
"""

#: What Zope does with the file at its start, and nothing else.
LOAD = """
import collective.clockwork
from zope.configuration import xmlconfig
xmlconfig.file("ticks.zcml", collective.clockwork)
print("started")
"""

PATIENCE = 120


OLD = "collective.timedevents"


def add_distribution(folder: Path, name: str, version: str, *requires: str) -> None:
    """Make its metadata, as an installer writes them."""
    folder.mkdir(parents=True)
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {requirement}" for requirement in requires]
    name = "PKG-INFO" if folder.name == "EGG-INFO" else "METADATA"
    (folder / name).write_text("\n".join(lines) + "\n")


def run(script: str, path: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run a script with a folder on its path; gives how it ended."""
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, "PYTHONPATH": str(path)},
        cwd=path.parent,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def test_zope_does_not_start_beside_it_and_says_what_to_do(tmp_path):
    site = tmp_path / "site"
    add_distribution(site / f"{OLD}-1.0.2.dist-info", OLD, "1.0.2")
    add_distribution(
        site / "harvest-2.0.dist-info", "harvest", "2.0", "Collective_TimedEvents>=1.0"
    )
    add_distribution(site / "stock-1.dist-info", "stock", "1", "collective.timed")

    home = tmp_path / "home"
    home.mkdir()
    conf = instancehome.write(home, file="ticks.zcml", products="")

    ended = run(START, site, str(conf))

    assert ended.returncode != 0
    assert "started" not in ended.stdout
    error = ended.stderr
    assert f"collective.timedevents 1.0.2 is installed in {site}" in error
    assert "pip uninstall collective.timedevents" in error
    assert "pip install --force-reinstall --no-deps collective.clockwork" in error
    assert "out of all lists of eggs" in error
    assert "It is required by harvest: put collective.clockwork in its place" in error
    assert "ticks.zcml" in error


def test_an_egg_of_a_buildout_is_noticed_too(tmp_path):
    egg = tmp_path / f"{OLD}-1.1-py3.11.egg"
    add_distribution(egg / "EGG-INFO", OLD, "1.1")

    ended = run(LOAD, egg)

    assert ended.returncode != 0
    assert f"collective.timedevents 1.1 is installed in {egg}" in ended.stderr
    assert "No other distribution requires it." in ended.stderr


def test_without_it_the_file_is_loaded_whatever_else_is_installed(tmp_path):
    site = tmp_path / "site"
    add_distribution(site / "harvest-2.0.dist-info", "harvest", "2.0", OLD)

    ended = run(LOAD, site)

    assert (ended.returncode, ended.stdout.strip()) == (0, "started"), ended.stderr
