"""Instance homes for workers that the tests start."""

from __future__ import annotations

from collective.clockwork.engine import instanceuuid
from pathlib import Path


#: A storage that goes with its process.
IN_MEMORY = "<mappingstorage>\n  </mappingstorage>"

#: What takes most of the time of a start: the ZCML of all products, Plone among them.
PRODUCTS = """\
<five:loadProducts file="meta.zcml" />
  <five:loadProducts />"""

ZOPE_CONF = """\
instancehome {home}
<zodb_db main>
  {storage}
  mount-point /
</zodb_db>
{more}
"""

SITE_ZCML = """\
<configure
    xmlns="http://namespaces.zope.org/zope"
    xmlns:five="http://namespaces.zope.org/five"
    >

  <include package="Zope2.App" />
  {products}
  <include
      package="collective.clockwork"
      file="{file}"
      />

</configure>
"""


def write(
    home: Path,
    file="single_db_worker.zcml",
    more="",
    storage=IN_MEMORY,
    products=PRODUCTS,
) -> Path:
    """Write a zope.conf whose site.zcml includes this file of ours."""
    (home / "etc").mkdir()
    site = SITE_ZCML.format(file=file, products=products)
    (home / "etc" / "site.zcml").write_text(site)
    path = home / "zope.conf"
    path.write_text(ZOPE_CONF.format(home=home, more=more, storage=storage))
    return path


def named(path) -> str:
    """The section of a zope.conf that says where the UUID is."""
    return f"<environment>\n  {instanceuuid.key} {path}\n</environment>"
