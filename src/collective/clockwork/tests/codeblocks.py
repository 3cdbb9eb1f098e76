"""The examples of the documentation, as the tests run them."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from types import ModuleType

import re
import sys


ROOT = Path(__file__).resolve().parents[4]

_BLOCK = re.compile(
    r"^\.\. code-block:: \w+\n   :name: (?P<name>\S+)\n\n(?P<code>(?:    .*\n|\n)+)",
    re.MULTILINE,
)


def named_blocks(path: str) -> dict[str, str]:
    """The code blocks with a name, in a file below the root of the checkout."""
    text = (ROOT / path).read_text() + "\n"
    return {
        match["name"]: dedent(match["code"]).strip() + "\n"
        for match in _BLOCK.finditer(text)
    }


class Examples:
    """Runs the code blocks of a file, in a module that their functions are found in."""

    def __init__(self, path: str, monkeypatch, **names):
        self.blocks = named_blocks(path)
        self.module = ModuleType("clockwork_docs_examples")
        self.module.__dict__.update(names)
        monkeypatch.setitem(sys.modules, self.module.__name__, self.module)

    def __call__(self, name: str) -> ModuleType:
        """Run the block with this name; returns the module, with what it has made."""
        exec(compile(self.blocks[name], name, "exec"), self.module.__dict__)
        return self.module
