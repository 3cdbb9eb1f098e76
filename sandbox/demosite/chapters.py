"""The chapters of our own documentation, as HTML made by docutils.

They are written for Sphinx. What docutils does not know of it is told here, as far
as it makes sense on a page that stands alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from docutils import nodes
from docutils.core import publish_doctree
from docutils.core import publish_from_doctree
from docutils.parsers.rst import directives
from docutils.parsers.rst import roles
from docutils.parsers.rst.directives.admonitions import Note
from docutils.parsers.rst.directives.body import CodeBlock
from docutils.writers.html5_polyglot import Writer
from pathlib import Path

import re


DOCS = Path(__file__).parents[2] / "docs"

#: Severer than all: whatever docutils does not understand, there is a page.
NEVER = 5

SETTINGS = {
    "file_insertion_enabled": False,
    "raw_enabled": False,
    "halt_level": NEVER,
    "warning_stream": False,
    "embed_stylesheet": False,
    "stylesheet_path": "",
    "syntax_highlight": "none",
    "initial_header_level": 2,
    "smart_quotes": False,
}

#: Text of a role that names its target: ``Our chapter <chapter>``.
TITLED = re.compile(r"(?s)(.+?)\s*<(.+)>$")

CODE_ROLES = ("class", "data", "exc", "file", "func", "meth", "mod")


@dataclass(frozen=True)
class Chapter:
    """A chapter as a page may show it."""

    title: str
    html: str


def names() -> list[str]:
    """The chapters' file names without suffix, in the order of the alphabet."""
    return sorted(path.stem for path in DOCS.glob("*.rst") if path.stem != "index")


def source(name: str) -> str:
    """The text of a chapter; LookupError if there is no chapter of that name."""
    if name not in names():
        raise LookupError(f"There is no chapter {name!r} in {DOCS}.")
    return (DOCS / f"{name}.rst").read_text(encoding="utf-8")


def convert(name: str) -> Chapter:
    """The chapter as HTML; LookupError if there is no chapter of that name.

    What docutils does not understand stands on the page with its message.
    """
    teach_docutils()
    document = publish_doctree(source(name), settings_overrides=SETTINGS)
    for literal in document.findall(nodes.literal):
        # The writer makes a <span> of a literal, which needs a style sheet.
        literal["classes"].append("code")
    writer = Writer()
    publish_from_doctree(document, writer=writer, settings_overrides=SETTINGS)
    return Chapter(document.get("title", name), writer.parts["body"])


def teach_docutils() -> None:
    """Make docutils know the directives and roles of Sphinx that chapters use."""
    directives.register_directive("code-block", SphinxCodeBlock)
    for name in ("versionadded", "versionchanged", "deprecated", "seealso"):
        directives.register_directive(name, Note)
    for name in CODE_ROLES:
        for role in (name, f"py:{name}"):
            roles.register_local_role(role, code_role)
    roles.register_local_role("doc", chapter_role)
    roles.register_local_role("ref", text_role)


class SphinxCodeBlock(CodeBlock):
    """docutils' code block, which takes the options of Sphinx's as well."""

    option_spec = CodeBlock.option_spec | {
        "caption": directives.unchanged,
        "emphasize-lines": directives.unchanged,
        "linenos": directives.flag,
    }


def code_role(name, rawtext, text, lineno, inliner, options=None, content=()):
    """A name in the code: shown as it is."""
    return [nodes.literal(rawtext, text.lstrip("~!"))], []


def text_role(name, rawtext, text, lineno, inliner, options=None, content=()):
    """A reference that leads nowhere here: its title."""
    title, _target = _split(text)
    return [nodes.inline(rawtext, title)], []


def chapter_role(name, rawtext, text, lineno, inliner, options=None, content=()):
    """Another chapter: a link, because its page is in the same folder."""
    title, target = _split(text)
    return [nodes.reference(rawtext, title, refuri=target)], []


def _split(text: str) -> tuple[str, str]:
    titled = TITLED.match(text)
    return (titled[1], titled[2]) if titled else (text, text)
