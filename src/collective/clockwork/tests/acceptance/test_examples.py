"""The example add-ons: they can be installed, and their own tests pass then."""

from __future__ import annotations

from collective.clockwork.tests.codeblocks import ROOT

import os
import pytest
import re
import shutil
import subprocess
import sys


EXAMPLES = sorted(path.parent for path in (ROOT / "examples").glob("*/setup.py"))

#: Seconds; the tests set up a site three times.
PATIENCE = 600


def run(*arguments, **options) -> str:
    """Run Python; gives what it printed, and fails with it unless all went well."""
    result = subprocess.run(
        [sys.executable, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        **options,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


def test_there_are_examples():
    assert EXAMPLES


@pytest.mark.timeout(2 * PATIENCE)
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_can_be_installed_and_its_tests_pass(example, tmp_path):
    # Building an egg leaves files beside its source.
    source = shutil.copytree(
        example,
        tmp_path / "source",
        ignore=shutil.ignore_patterns("*.egg-info", "__pycache__", "build"),
    )
    installed = tmp_path / "installed"
    options = ("--no-deps", "--no-index", "--no-build-isolation", "--quiet")
    run("-m", "pip", "install", *options, "--target", installed, source)
    package = installed.joinpath(*example.name.split("."))
    printed = run(
        *("-m", "pytest", "-c", source / "pyproject.toml", "-p", "no:cacheprovider"),
        package,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{installed}{os.pathsep}{ROOT / 'src'}"},
    )
    summary = printed.splitlines()[-1]
    assert re.search(r"\b[1-9]\d* passed", summary), printed
    assert not re.search("skipped|failed|error", summary), printed
