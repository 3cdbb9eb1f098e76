"""The configuration files of the local stack's processes.

They are what a production set-up would have, only smaller: the same ZEO server,
the same ``zope.conf`` for instance and worker but for one line of ``site.zcml``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from sandbox.ports import HOST
from xml.sax.saxutils import quoteattr


ZEO_CONF = """\
# A client that freezes while it holds the commit lock must not stop the others.
%import collective.clockwork.engine.zeoserver

<zeo>
    address {host}:{zeo_port}
    transaction-timeout 30
</zeo>

<filestorage 1>
    path {var}/filestorage/Data.fs
    blob-dir {var}/blobstorage
</filestorage>
{async_storage}
<eventlog>
    level info
    <logfile>
        path STDERR
        format %(asctime)s %(levelname)s [%(name)s] %(message)s
    </logfile>
</eventlog>
"""

ASYNC_STORAGE = """
<filestorage async>
    path {var}/filestorage/Async.fs
    blob-dir {var}/asyncblobs
</filestorage>
"""

ZOPE_CONF = """\
instancehome {home}
clienthome {home}/var
debug-mode off

<environment>
    # Tells one process of the cluster from the others, over its restarts.
    ZC_ASYNC_UUID {home}/uuid.txt
    CHAMELEON_CACHE {home}/cache
</environment>

<zodb_db main>
    mount-point /
    cache-size 30000
    <zeoclient>
        server {host}:{zeo_port}
        storage 1
        name {name}
        blob-dir {var}/blobstorage
        shared-blob-dir on
    </zeoclient>
</zodb_db>
{async_db}"""

ASYNC_DB = """
<zodb_db async>
    mount-point /zasync
    <zeoclient>
        server {host}:{zeo_port}
        storage async
        name {name}-async
        # What jobs leave behind as files, such as exports.
        blob-dir {var}/asyncblobs
        shared-blob-dir on
    </zeoclient>
</zodb_db>
"""

SITE_ZCML = """\
<configure
    xmlns="http://namespaces.zope.org/zope"
    xmlns:five="http://namespaces.zope.org/five"
    >

  <include package="Zope2.App" />
  <five:loadProducts file="meta.zcml" />
  <five:loadProducts />
  <include
      package="collective.clockwork"
      file={role}
      />
{includes}  <five:loadProductsOverrides />

</configure>
"""

WSGI_INI = """\
[app:main]
use = egg:Zope#main
zope_conf = {home}/zope.conf

[server:main]
use = egg:waitress#main
host = {host}
port = {http_port}
threads = 4

[loggers]
keys = root

[handlers]
keys = console

[formatters]
keys = generic

[logger_root]
level = INFO
handlers = console

[handler_console]
class = StreamHandler
args = (sys.stderr,)
level = NOTSET
formatter = generic

[formatter_generic]
format = %(asctime)s %(levelname)s [%(name)s] %(message)s
"""


@dataclass(frozen=True)
class Configuration:
    """Writes the files below the directory `var`."""

    var: Path
    zeo_port: int
    http_port: int
    #: Packages whose configure.zcml is loaded after the add-on's.
    packages: tuple[str, ...] = ()
    #: Whether the queues are in a database of their own.
    two_databases: bool = False

    @property
    def logs(self) -> Path:
        """Where the processes' output goes."""
        return self.var / "log"

    def write_zeo(self) -> Path:
        """Write the ZEO server's configuration; gives its path."""
        blobs = (
            ("blobstorage", "asyncblobs") if self.two_databases else ("blobstorage",)
        )
        for name in ("filestorage", "log", *blobs):
            (self.var / name).mkdir(parents=True, exist_ok=True)
        for name in blobs:
            (self.var / name).chmod(0o700)
        more = ASYNC_STORAGE.format(var=self.var) if self.two_databases else ""
        return self._write("zeo.conf", ZEO_CONF, async_storage=more)

    def write_zope(self, name: str, role: str) -> Path:
        """Write the instance home `name`; gives the path of its ``zope.conf``.

        `role` is what the process does: ``instance`` or ``worker``.
        """
        databases = "multi" if self.two_databases else "single"
        async_db = ""
        if self.two_databases:
            async_db = ASYNC_DB.format(
                host=HOST, zeo_port=self.zeo_port, name=name, var=self.var
            )
        home = self.var / name
        for folder in ("etc", "var", "cache"):
            (home / folder).mkdir(parents=True, exist_ok=True)
        includes = "".join(
            f"  <include package={quoteattr(package)} />\n" for package in self.packages
        )
        self._write(
            f"{name}/etc/site.zcml",
            SITE_ZCML,
            role=quoteattr(f"{databases}_db_{role}.zcml"),
            includes=includes,
        )
        return self._write(
            f"{name}/zope.conf", ZOPE_CONF, home=home, name=name, async_db=async_db
        )

    def write_wsgi(self, name: str) -> Path:
        """Write the web server's configuration for the instance home `name`."""
        return self._write(f"{name}/wsgi.ini", WSGI_INI, home=self.var / name)

    def _write(self, file: str, template: str, **values: object) -> Path:
        path = self.var / file
        text = template.format(
            var=self.var,
            host=HOST,
            zeo_port=self.zeo_port,
            http_port=self.http_port,
            **values,
        )
        path.write_text(text, encoding="utf-8")
        return path
