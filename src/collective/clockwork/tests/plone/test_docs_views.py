"""The examples of the chapter about background views."""

from __future__ import annotations

from collective.clockwork.browser.asyncview import SubPage
from collective.clockwork.testing import drain
from collective.clockwork.tests.codeblocks import Examples
from collective.clockwork.tests.codeblocks import ROOT
from collective.clockwork.tests.plone.zcml import load_views
from pathlib import Path
from plone import api
from plone.app.testing import login
from plone.app.testing import SITE_OWNER_NAME
from plone.app.testing import SITE_OWNER_PASSWORD
from plone.testing.zope import Browser

import collective.clockwork.browser
import pytest
import re
import transaction


PAGE = "docs/views.rst"

ZCML = """
<configure
    xmlns="http://namespaces.zope.org/zope"
    xmlns:browser="http://namespaces.zope.org/browser">
  <include package="Products.Five" file="meta.zcml" />
  {directives}
</configure>
"""


@pytest.fixture
def examples(monkeypatch, tmp_path):
    examples = Examples(PAGE, monkeypatch)
    # Where the module finds its template.
    monkeypatch.setattr(
        examples.module, "__file__", str(tmp_path / "reports.py"), False
    )
    Path(tmp_path, "report.pt").write_text(examples.blocks["report.pt"])
    return examples


def open_as_owner(functional):
    browser = Browser(functional["app"])
    browser.addHeader("Authorization", f"Basic {SITE_OWNER_NAME}:{SITE_OWNER_PASSWORD}")
    return browser


def test_the_example_of_a_view(functional, examples, request):
    module = examples("reports.py")
    directives = examples.blocks["reports.zcml"]
    directives = directives.replace(".reports.", f"{module.__name__}.")
    load_views(ZCML.format(directives=directives), request.addfinalizer)
    portal = functional["portal"]
    login(functional["app"], SITE_OWNER_NAME)
    folder = api.content.create(portal, "Folder", "pages")
    for name in ("One", "Two"):
        api.content.create(folder, "Document", title=name)
    transaction.commit()
    browser = open_as_owner(functional)
    browser.open(f"{folder.absolute_url()}/report")
    browser.getControl("Make the report").click()
    page = browser.url
    assert "/report/processing?process_id=" in page
    drain()
    browser.open(page)
    assert browser.contents == "One\nTwo\n"
    disposition = browser.headers["Content-Disposition"]
    assert disposition == "attachment; filename=report.txt"


def test_the_example_of_options(functional, examples):
    view = examples("options.py").Export
    assert view.job_options["title"] == "Export"
    assert view(functional["portal"], functional["request"]).__run__() == b"all of it"


def test_the_table_of_attributes_is_that_of_the_class():
    text = (ROOT / PAGE).read_text()
    rows = dict(re.findall(r"^``(\w+)`` +(``[^`]+``|1 GiB)", text, re.MULTILINE))
    base = collective.clockwork.browser.BaseAsyncView
    assert rows.pop("body_limit") == "1 GiB" and base.body_limit == 2**30
    assert rows.pop("result_lifetime") == "``timedelta(days=1)``"
    assert base.result_lifetime.days == 1
    assert rows == {name: f"``{getattr(base, name)!r}``" for name in rows}
    assert len(rows) == 4


def test_the_sub_pages_are_those_of_the_class():
    text = (ROOT / PAGE).read_text()
    chapter = text.partition("Sub-pages and errors\n")[2]
    named = re.findall(r"^``(\w+)``\n    ", chapter, re.MULTILINE)
    assert named
    for name in named:
        view = collective.clockwork.browser.BaseAsyncView(None, None)
        assert isinstance(view.publishTraverse(None, name), SubPage)
