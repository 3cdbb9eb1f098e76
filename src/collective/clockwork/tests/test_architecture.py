"""The rules that keep the package easy to live in.

Three storeys, imports go down only, and small files:

- ``engine`` runs without Plone and Zope; it imports nothing above it;
- the middle (service, ticks, worker ...) may import the engine, and Plone;
- the top (pages, REST, command line) imports the middle, never the engine, and is
  imported by nobody;
- ``eventdispatcher`` stands beside and imports nothing of ours;
- ``collective.timedevents`` has nothing but names of the middle; nobody imports it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import ast
import collective.clockwork
import json
import pytest
import subprocess
import sys


PACKAGE = "collective.clockwork"
ROOT = Path(collective.clockwork.__file__).parent
MODULES = sorted(
    path for path in ROOT.rglob("*.py") if "tests" not in path.relative_to(ROOT).parts
)
OLD_TICKS = "collective.timedevents"
OLD_TICKS_MODULES = sorted((ROOT.parent / "timedevents").rglob("*.py"))
FILES = sorted(ROOT.rglob("*.py")) + OLD_TICKS_MODULES

#: What belongs where; every other module of ours is in the middle.
ENGINE = {"engine"}
TOP = {"browser", "restapi", "cli"}
BESIDE = {"eventdispatcher"}

#: Storey to the storeys of ours from which it may import. The package itself
#: gives the message factory.
ALLOWED = {
    "package": set(),
    "beside": set(),
    "engine": {"package", "engine"},
    "middle": {"package", "engine", "middle", "beside"},
    "top": {"package", "middle"},
}

#: What others' packages the engine may import, besides the standard library.
ENGINE_MAY_IMPORT = {
    "BTrees",
    "ZEO",
    "ZODB",
    "persistent",
    "transaction",
    "zc.lockfile",
    "zodbpickle",
    "zope.component",
    "zope.configuration",
    "zope.event",
    "zope.i18nmessageid",
    "zope.interface",
    "zope.processlifetime",
    "zope.schema",
}

#: What may be imported by the engine only inside a function that needs it.
ENGINE_MAY_IMPORT_LATE = {"relstorage", "psycopg2", "twisted"}

#: Top names of modules that must not be loaded by loading the engine.
FOREIGN_TO_ENGINE = {
    "AccessControl",
    "Acquisition",
    "App",
    "OFS",
    "Products",
    "ZPublisher",
    "Zope2",
    "plone",
    "twisted",
}

PACKAGE_MAY_IMPORT = {"zope.i18nmessageid"}
BESIDE_MAY_IMPORT = {"twisted", "zope.interface"}
#: What imports the event dispatcher, and so needs Twisted, which is an extra.
USERS_OF_BESIDE = {"eventbridges"}

OLD_TICKS_MAY_IMPORT = {
    OLD_TICKS,
    f"{PACKAGE}.interfaces",
    f"{PACKAGE}.ticks",
}

MAX_LINES = 500
VAGUE_NAMES = {"common", "helper", "helpers", "misc", "util", "utils"}
#: A name of plone.app.async, which a port by search and replace needs.
OLD_NAMES = {"utils.py"}


@dataclass(frozen=True)
class Import:
    """One imported name, as it stands in a file."""

    file: Path
    line: int
    name: str
    late: bool

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT.parent)}:{self.line} imports {self.name}"


def dotted_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    if parts[-1] == "__init__":
        parts = parts[:-1]
    return ".".join((PACKAGE, *parts))


def is_ours(name: str) -> bool:
    return name == PACKAGE or name.startswith(f"{PACKAGE}.")


def part(name: str) -> str:
    """The first step below the package: ``engine``, ``browser``, ``service`` ..."""
    rest = name.removeprefix(PACKAGE).lstrip(".")
    first = rest.partition(".")[0]
    return first if (ROOT / first).is_dir() or (ROOT / f"{first}.py").exists() else ""


def storey(name: str) -> str:
    first = part(name)
    for storey_name, parts in (("engine", ENGINE), ("top", TOP), ("beside", BESIDE)):
        if first in parts:
            return storey_name
    return "middle" if first else "package"


def within(name: str, allowed: set[str]) -> bool:
    return any(name == each or name.startswith(f"{each}.") for each in allowed)


def absolute(path: Path, node: ast.ImportFrom) -> str:
    """The module that a ``from ... import`` names, relative ones resolved."""
    if not node.level:
        return node.module or ""
    steps = dotted_name(path).split(".")
    if path.name == "__init__.py":
        steps.append("")
    base = steps[: len(steps) - node.level]
    return ".".join((*base, node.module) if node.module else base)


def list_imports(path: Path) -> Iterator[Import]:
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    late = {
        id(inner)
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for inner in ast.walk(outer)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = absolute(path, node)
            names = [f"{module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            yield Import(path, node.lineno, name, id(node) in late)


def imports_of(storey_name: str) -> list[Import]:
    return [
        found
        for path in MODULES
        if storey(dotted_name(path)) == storey_name
        for found in list_imports(path)
    ]


def is_standard(name: str) -> bool:
    return name.partition(".")[0] in sys.stdlib_module_names


def show(broken: list[Import]) -> str:
    return "\n".join(map(str, broken))


LOAD_THE_ENGINE = """
import importlib, json, sys
before = set(sys.modules)
for name in json.load(sys.stdin):
    importlib.import_module(name)
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def test_loading_the_engine_loads_nothing_of_plone_zope_or_twisted():
    names = [n for n in map(dotted_name, MODULES) if storey(n) == "engine"]
    assert f"{PACKAGE}.engine.job" in names
    result = subprocess.run(
        [sys.executable, "-c", LOAD_THE_ENGINE],
        input=json.dumps(names),
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    loaded = json.loads(result.stdout)
    foreign = [n for n in loaded if n.partition(".")[0] in FOREIGN_TO_ENGINE]
    assert not foreign


@pytest.mark.parametrize("storey_name", sorted(ALLOWED))
def test_imports_of_our_own_modules_go_down_only(storey_name):
    def is_allowed(found: Import) -> bool:
        same_part = part(found.name) == part(dotted_name(found.file))
        return storey(found.name) in ALLOWED[storey_name] or (
            same_part and storey_name != "package"
        )

    ours = [found for found in imports_of(storey_name) if is_ours(found.name)]
    broken = [found for found in ours if not is_allowed(found)]
    assert not broken, show(broken)


def test_the_engine_imports_only_the_packages_of_its_list():
    def is_allowed(found: Import) -> bool:
        late = found.late and within(found.name, ENGINE_MAY_IMPORT_LATE)
        return late or is_standard(found.name) or within(found.name, ENGINE_MAY_IMPORT)

    foreign = [found for found in imports_of("engine") if not is_ours(found.name)]
    broken = [found for found in foreign if not is_allowed(found)]
    assert not broken, show(broken)


def test_the_package_itself_imports_nothing_but_its_message_factory():
    broken = [
        found
        for found in imports_of("package")
        if not is_standard(found.name) and not within(found.name, PACKAGE_MAY_IMPORT)
    ]
    assert not broken, show(broken)


def test_the_event_dispatcher_imports_nothing_but_twisted_and_zope_interface():
    itself = {f"{PACKAGE}.{name}" for name in BESIDE}
    broken = [
        found
        for found in imports_of("beside")
        if not is_standard(found.name)
        and not within(found.name, BESIDE_MAY_IMPORT | itself)
    ]
    assert not broken, show(broken)


def test_only_the_bridges_import_the_event_dispatcher():
    users = {
        part(dotted_name(found.file))
        for path in MODULES
        for found in list_imports(path)
        if is_ours(found.name) and storey(found.name) == "beside"
    }
    assert users - BESIDE == USERS_OF_BESIDE


def test_the_old_names_of_ticks_are_names_of_the_middle():
    broken = [
        found
        for path in OLD_TICKS_MODULES
        for found in list_imports(path)
        if not is_standard(found.name) and not within(found.name, OLD_TICKS_MAY_IMPORT)
    ]
    assert OLD_TICKS_MODULES
    assert not broken, show(broken)


def test_none_of_ours_imports_the_old_names_of_ticks():
    broken = [
        found
        for path in MODULES
        for found in list_imports(path)
        if within(found.name, {OLD_TICKS})
    ]
    assert not broken, show(broken)


def test_no_module_but_tests_imports_tests():
    tests = f"{PACKAGE}.tests"
    broken = [
        found
        for path in MODULES
        for found in list_imports(path)
        if within(found.name, {tests})
    ]
    assert not broken, show(broken)


def test_no_file_is_longer_than_the_limit():
    lengths = {
        str(path.relative_to(ROOT.parent)): path.read_text("utf-8").count("\n")
        for path in FILES
    }
    too_long = {name: lines for name, lines in lengths.items() if lines > MAX_LINES}
    assert not too_long


def test_no_module_has_a_name_that_says_nothing():
    vague = [
        str(path.relative_to(ROOT))
        for path in ROOT.rglob("*")
        if path.stem.lower() in VAGUE_NAMES and path.suffix in ("", ".py")
    ]
    assert not set(vague) - OLD_NAMES


def test_the_namespace_is_a_native_one():
    assert not (ROOT.parent / "__init__.py").exists()
