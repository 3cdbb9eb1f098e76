"""The chapter about security: each of its claims names the test that holds it."""

from __future__ import annotations

from collective.clockwork.tests.codeblocks import ROOT
from pathlib import Path

import pytest
import re


TESTS = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs/security.rst").read_text()

NAMED = re.compile(r"\b(test_\w+)::(test_\w+)")
#: A row of a table, from its first column to the next row or the end of the table.
TABLE = re.compile(r"^\.\. list-table::\n(?P<rows>(?:   .*\n|\n)+)", re.MULTILINE)
ROW = re.compile(r"^   \* - ", re.MULTILINE)


def rows():
    for table in TABLE.finditer(TEXT):
        _options, head, *rest = ROW.split(table["rows"])
        assert head.rstrip().endswith("- tested by")
        yield from rest


@pytest.mark.parametrize(("module", "name"), sorted(set(NAMED.findall(TEXT))))
def test_a_test_that_the_chapter_names_is_there(module, name):
    (path,) = TESTS.rglob(f"{module}.py")
    assert re.search(rf"^ *def {name}\(", path.read_text(), re.MULTILINE)


def test_each_row_of_its_tables_names_a_test():
    found = list(rows())
    assert len(found) > 50
    for row in found:
        assert NAMED.search(row), row


def test_each_of_our_tests_of_security_is_named_there():
    named = {module for module, _name in NAMED.findall(TEXT)}
    ours = {path.stem for path in TESTS.rglob("test_security_*.py")}
    assert ours and ours <= named
