"""The examples of the documentation, as the tests run them."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import re


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
