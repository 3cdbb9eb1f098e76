"""The examples of the documentation, and those of the package that it replaces."""

from __future__ import annotations

from collective.clockwork.tests.codeblocks import ROOT
from twisted.internet.defer import Deferred
from types import ModuleType

import doctest
import pytest
import sys


#: Where old documentation may lie, beside the checkout.
OLD_PAGES = ROOT.parent / "shared" / "seeds"


def run_examples(name: str, text: str) -> int:
    """Run the examples of a page; gives their number."""
    test = doctest.DocTestParser().get_doctest(text, {}, name, name, 0)
    report: list[str] = []
    outcome = doctest.DocTestRunner().run(test, out=report.append)
    assert outcome.failed == 0, "".join(report)
    return outcome.attempted


@pytest.fixture
def crochet(monkeypatch, result):
    """What the old page takes from crochet, for Deferreds that have fired.

    The real one would start a reactor for the rest of the process.
    """

    def wait_for(timeout):
        def decorate(function):
            def wait(*args):
                given = function(*args)
                return result(given) if isinstance(given, Deferred) else given

            return wait

        return decorate

    module = ModuleType("crochet")
    module.wait_for, module.setup = wait_for, lambda: None
    monkeypatch.setitem(sys.modules, "crochet", module)


def test_our_page_says_the_truth():
    page = ROOT / "docs" / "eventdispatcher.rst"
    assert run_examples(page.name, page.read_text()) > 50


def test_the_old_packages_own_page_holds_after_replacing_its_name(crochet):
    pages = sorted(OLD_PAGES.glob("003_*")) if OLD_PAGES.is_dir() else []
    if not pages:
        pytest.skip(f"There is no page of twisted_event_dispatcher in {OLD_PAGES}")
    old = "from oni.twisted_event_dispatcher"
    new = "from collective.clockwork.eventdispatcher"
    for page in pages:
        text = page.read_text()
        assert text.count(f"{old} import") == 1
        assert run_examples(page.name, text.replace(old, new)) > 25
