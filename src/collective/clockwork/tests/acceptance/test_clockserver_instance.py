"""Clocks in real processes: instances made by ``mkwsgiinstance``, ZEO, a worker."""

from __future__ import annotations

from collective.clockwork import worker
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.tests.acceptance.clockaddon import makesite
from collective.clockwork.tests.engine import zeoprocess
from pathlib import Path

import pytest
import shutil
import signal
import subprocess
import sys
import time


#: Seconds that anything may take on a busy machine.
PATIENCE = 180

pytestmark = pytest.mark.timeout(3 * PATIENCE)

ADDON = makesite.__name__.rpartition(".")[0]

PUBLIC = "/VirtualHostBase/https/www.example.org:443/Plone/VirtualHostRoot"

SECTION = """\
<clock-server {name}>
  method {method}
  period 1
  user admin
  password-env CLOCK_PASSWORD
  {more}
</clock-server>
"""

INCLUDE = """\
<configure xmlns="http://namespaces.zope.org/zope">
  <include
      package="{package}"
      file="{file}"
      />
</configure>
"""


def section(name: str, method: str, more: str = "") -> str:
    return SECTION.format(name=name, method=method, more=more)


class Cluster:
    """A ZEO server with a Plone site, and Zope instances on it."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.started: list[zeoprocess.Process] = []
        self.server = zeoprocess.Server(directory, ["main"])
        self.db = None
        #: An instance as it is made, which all are copies of.
        self.pristine = directory / "pristine"
        #: What a script said that zconsole ran in an instance with a clock.
        self.said_by_zconsole = ""

    def open(self):
        """Start the server and make the site."""
        self.server.start()
        self.run(
            "Zope2.utilities.mkwsgiinstance",
            *("-d", self.pristine, "-u", "admin:secret"),
        )
        conf = self.make_instance("first", section("tick", "/Plone/@@tick"))
        zconsole = ("Zope2.utilities.zconsole", "run")
        self.said_by_zconsole = self.run(*zconsole, conf, makesite.__file__)
        self.db = zeoprocess.open_database(self.server.port, ["main"])

    def run(self, module: str, *arguments) -> str:
        ended = subprocess.run(
            [sys.executable, "-m", module, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def make_instance(self, name: str, sections: str, package=None, file=None) -> Path:
        """Make one that loads a ZCML file of this package; gives its zope.conf."""
        home = self.directory / name
        shutil.copytree(self.pristine, home)
        conf = home / "etc" / "zope.conf"
        for each in (conf, home / "etc" / "zope.ini"):
            each.write_text(each.read_text().replace(str(self.pristine), str(home)))
        text = conf.read_text()
        opening, closing = "<filestorage>", "</filestorage>"
        before, _opening, rest = text.partition(opening)
        _storage, _closing, after = rest.partition(closing)
        assert after, text
        storage = (
            f"<zeoclient>\n server 127.0.0.1:{self.server.port}\n"
            f" storage main\n name {name}\n</zeoclient>"
        )
        after = after.replace(
            "\n<environment>", "\n<environment>\n  CLOCK_PASSWORD secret", 1
        )
        conf.write_text(
            f"%import collective.clockwork\n{before}{storage}{after}\n{sections}"
        )
        ini = home / "etc" / "zope.ini"
        ini.write_text(ini.read_text().replace("port = 8080", "port = 0"))
        includes = {ADDON: "configure.zcml"}
        if package is not None:
            includes[package] = file
        folder = home / "etc" / "package-includes"
        folder.mkdir()
        for name, zcml in includes.items():
            text = INCLUDE.format(package=name, file=zcml)
            (folder / f"{name}-configure.zcml").write_text(text)
        return conf

    def start(self, conf: Path, module="Zope2.Startup.serve", config="zope.ini"):
        command = [sys.executable, "-m", module, str(conf.with_name(config))]
        process = zeoprocess.Process(command, conf.with_name("said.log"))
        self.started.append(process)
        return process

    def serve(self, name: str, sections: str):
        """Start a new instance; returns at once."""
        return self.start(self.make_instance(name, sections))

    def read(self, attribute: str):
        """An attribute of the site, as it is stored now."""
        with self.db.transaction() as connection:
            value = getattr(connection.root()["Application"]["Plone"], attribute)
            return value if isinstance(value, int) else list(value)

    def end_instances(self):
        for process in self.started:
            process.end()

    def close(self):
        self.end_instances()
        if self.db is not None:
            zeoprocess.close_database(self.db)
        if self.server.process is not None:
            self.server.process.end()


def wait_for(process, text: str) -> None:
    wait_until(lambda: text in said(process), text, PATIENCE)


def said(process) -> str:
    assert process.process.poll() is None, process.said()
    return process.said()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("clocks"))
    try:
        cluster.open()
        yield cluster
    finally:
        cluster.close()


@pytest.fixture
def cluster(site):
    """The cluster, for tests whose instances end with them."""
    yield site
    site.end_instances()


@pytest.fixture(scope="class")
def pair(site):
    """Instances by the number of the signal that ends them at the end."""
    pair = {}
    for signum in (signal.SIGTERM, signal.SIGINT):
        folder = site.directory / f"hold-{signum}"
        folder.mkdir()
        sections = (
            section("tick", "/Plone/@@tick"),
            section("hour", "/Plone/@@tick_hourly", "once on"),
            section("hold", f"/Plone/@@hold?directory={folder}"),
        )
        pair[signum] = site.serve(f"ended-by-{signum}", "".join(sections))
    for instance in pair.values():
        wait_for(instance, "Serving on http")
    yield pair
    site.end_instances()


def test_zconsole_has_no_clocks(cluster):
    assert "clocks: []" in cluster.said_by_zconsole


class TestTwoInstances:
    def test_of_ticks_at_the_same_moment_one_fires(self, site, pair):
        for instance in pair.values():
            wait_for(instance, "clock-server tick (/Plone/@@tick): 200 OK")
        assert len(site.read("ticks")) == 1

    def test_with_once_one_calls_in_each_period(self, site, pair):
        begun = int(time.time())
        before = len(site.read("hours"))
        calls = 5
        wait_until(
            lambda: len(site.read("hours")) >= before + calls, "the calls", PATIENCE
        )
        # The slice that began with `begun` may have been called for after `before`.
        assert len(site.read("hours")) - before <= int(time.time()) - begun + 1

    @pytest.mark.parametrize(
        ("signum", "returncode"),
        [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 0)],
    )
    def test_a_call_that_is_running_is_completed_and_stored(
        self, site, pair, signum, returncode
    ):
        instance = pair[signum]
        folder = site.directory / f"hold-{signum}"
        before = site.read("held")
        (folder / "wanted").touch()
        wait_until((folder / "begun").exists, "the call", PATIENCE)
        instance.process.send_signal(signum)
        wait_for(instance, "Stopping the clock-servers")
        (folder / "release").touch()
        assert instance.process.wait(PATIENCE) == returncode
        assert (folder / "begun").read_text() == "x"
        wait_until(lambda: site.read("held") > before, "the commit", PATIENCE)
        assert site.read("held") == before + 1
        assert "The clock-servers are stopped" in instance.said()
        assert "Traceback" not in instance.said()


def test_a_wrong_section_is_refused_by_its_name(cluster):
    instance = cluster.serve("wrong", section("nightly", "Plone/@@tick"))
    assert instance.process.wait(PATIENCE) != 0
    assert "<clock-server nightly>: method is 'Plone/@@tick'" in instance.said()


def test_a_worker_ticks_a_site_at_its_public_address_until_sigterm(cluster):
    stranger = section("stranger", "/@@tick").replace("user admin", "user nobody")
    conf = cluster.make_instance(
        "worker",
        stranger + section("day", f"{PUBLIC}/@@tick_daily"),
        package="collective.clockwork",
        file="single_db_worker.zcml",
    )
    worker_process = cluster.start(conf, worker.__name__, "zope.conf")
    wait_for(worker_process, worker.READY)
    wait_until(lambda: len(cluster.read("days")) >= 4, "four ticks", PATIENCE)
    assert worker_process.stop() == 0
    pid = worker_process.process.pid
    assert set(cluster.read("days")) == {("https://www.example.org", "admin", pid)}
    said = worker_process.said()
    # One line each, for all the calls.
    assert said.count("(/@@tick): 401 Unauthorized after") == 1
    assert said.count("/@@tick_daily): 200 OK after") == 1
    # Before its databases are closed.
    assert "The clock-servers are stopped" in said
    assert "Traceback" not in said
