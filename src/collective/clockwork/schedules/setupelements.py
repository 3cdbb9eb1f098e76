"""Elements of set-up files, read with care: what is wrong is named with its place."""

from __future__ import annotations

from collections.abc import Iterator
from collective.clockwork.engine.options import hint
from collective.clockwork.schedules import durations
from dataclasses import dataclass
from datetime import timedelta
from lxml import etree
from typing import Any

import json


TRUTHS = {"true": True, "false": False}


class SetupFileError(ValueError):
    """Something in a set-up file makes no sense; the message says where."""


@dataclass(frozen=True)
class Element:
    """One element of a file. What its methods refuse is a SetupFileError."""

    filename: str
    element: etree._Element

    @property
    def tag(self) -> str:
        return self.element.tag

    @property
    def text(self) -> str:
        """The text in it, without what is around."""
        return (self.element.text or "").strip()

    @property
    def attributes(self) -> set[str]:
        """Names of the attributes that are there."""
        return set(self.element.attrib)

    def get(self, name: str) -> str | None:
        """An attribute; None if it isn't there."""
        return self.element.get(name)

    def need(self, name: str) -> str:
        """An attribute that must be there and not be empty."""
        value = self.get(name)
        if not value:
            raise self.error(f"it needs {name}")
        return value

    def truth(self, name: str) -> bool | None:
        """An attribute that is "true" or "false"; None if it isn't there."""
        value = self.get(name)
        if value is None:
            return None
        if value.lower() not in TRUTHS:
            raise self.error(f'{name} is {value!r}: it must be "true" or "false"')
        return TRUTHS[value.lower()]

    def duration(self, name: str) -> timedelta:
        """An attribute that is there, as a duration."""
        try:
            return durations.parse(self.need(name))
        except ValueError as error:
            raise self.error(f"{name} is {error}") from error

    def number(self, name: str) -> int:
        """An attribute that is there, as a whole number."""
        value = self.need(name)
        if not (value.isascii() and value.isdigit() and len(value) < 10):
            raise self.error(f"{name} is {value!r}: it must be a whole number")
        return int(value)

    def json_object(self) -> dict[str, Any]:
        """The JSON object that is the text in it."""
        try:
            found = json.loads(self.text)
        except (ValueError, RecursionError) as error:
            raise self.error(f"{self.text!r} is no JSON: {error}") from error
        if not isinstance(found, dict):
            raise self.error(f'{self.text!r} is no object: write {{"name": value}}')
        return found

    def children(self) -> Iterator[Element]:
        """The elements in it, without comments."""
        for child in self.element.iterchildren(tag=etree.Element):
            yield Element(self.filename, child)

    def check(self, attributes: tuple[str, ...], inside: str | None) -> None:
        """Refuse other attributes, other elements and text.

        ``inside`` is the tag of the elements that there may be; None if there may be
        text alone.
        """
        for name, value in self.element.attrib.items():
            if name not in attributes:
                advice = hint(name, attributes) if attributes else "it has none"
                raise self.error(f"the attribute {name}={value!r} is unknown; {advice}")
        for child in self.children():
            if child.tag != inside:
                expected = "text alone" if inside is None else f"<{inside}>"
                raise child.error(f"inside of <{self.tag}> there may be {expected}")
        if inside is not None:
            texts = [self.element.text, *(child.tail for child in self.element)]
            text = "".join(filter(None, texts)).strip()
            if text:
                raise self.error(f"it has the text {text!r}, which is unknown")

    def error(self, problem: str) -> SetupFileError:
        """An error that says where it is."""
        shown = f"<{self.tag}>"
        for name in ("name", "uid"):
            if self.get(name) is not None:
                shown = f"<{self.tag} {name}={self.get(name)!r}>"
                break
        line = self.element.sourceline
        return SetupFileError(f"{self.filename}, line {line}, {shown}: {problem}")


def read(filename: str, body: bytes, tag: str) -> Element:
    """The outermost element of a file; SetupFileError if it is no such XML."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True)
    try:
        root = Element(filename, etree.fromstring(body, parser))
    except etree.XMLSyntaxError as error:
        raise SetupFileError(f"{filename} is no XML: {error}") from error
    if root.tag != tag:
        raise root.error(f"the outermost element must be <{tag}>")
    return root
