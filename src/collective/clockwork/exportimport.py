"""The GenericSetup file ``clockwork.xml``: queues and quotas that an add-on needs.

A file is read and checked as a whole before anything is changed. What stands in it is
described in ``docs/setup.rst``.
"""

from __future__ import annotations

from collective.clockwork import quotas
from collective.clockwork.engine.options import hint
from dataclasses import dataclass
from dataclasses import field
from lxml import etree
from Products.GenericSetup.interfaces import IExportContext
from Products.GenericSetup.interfaces import IImportContext

import re


FILENAME = "clockwork.xml"
ROOT = "clockwork"

#: Name of the logger whose lines the set-up tool shows after an import. It shows them
#: without their arguments, so they are made before.
LOGGER = "clockwork"

#: Elements with the attributes that they may have, and the element inside.
ATTRIBUTES = {
    ROOT: (),
    "queue": ("name", "purge"),
    "quota": ("name", "size", "overwrite", "remove"),
}
INSIDE = {ROOT: "queue", "queue": "quota", "quota": None}

TRUTHS = {"true": True, "false": False}

#: A larger size than this is a slip of the hand.
SIZE = re.compile(r"[0-9]{1,6}")


class ClockworkXMLError(ValueError):
    """Something in a ``clockwork.xml`` makes no sense; the message says where."""


@dataclass(frozen=True)
class DeclaredQuota:
    """What a file says of one quota; ``size`` is None for one that is to go."""

    name: str
    size: int | None
    overwrite: bool


@dataclass
class DeclaredQueue:
    """What a file says of one queue."""

    name: str
    #: Whether quotas that the file does not name are to go.
    purge: bool
    quotas: dict[str, DeclaredQuota] = field(default_factory=dict)


def import_clockwork(context: IImportContext) -> None:
    """Import step: make the queues and quotas of the profile's file.

    Raises ClockworkXMLError, with nothing changed, for what makes no sense.
    """
    body = context.readDataFile(FILENAME)
    if body is None:
        return
    logger = context.getLogger(LOGGER)
    for queue in read(body):
        if quotas.ensure_queue(queue.name):
            logger.info(f"Queue {queue.name!r} made.")
        for quota in queue.quotas.values():
            if quota.size is None:
                _remove(queue.name, quota.name, logger)
            elif not quotas.declare(
                queue.name, quota.name, quota.size, quota.overwrite
            ):
                logger.warning(
                    f"Quota {quota.name!r} of queue {queue.name!r} keeps the size that "
                    f"was set by hand, not {quota.size} as in the file: add "
                    'overwrite="true" to have that.'
                )
        if queue.purge:
            for name in _others(queue):
                _remove(queue.name, name, logger)
    logger.info("Queues and quotas imported.")


def export_clockwork(context: IExportContext) -> None:
    """Export step: write all queues and quotas of the database."""
    root = etree.Element(ROOT)
    for name in quotas.list_queues():
        queue = etree.SubElement(root, "queue", name=name)
        for quota in quotas.list_quotas():
            if quota.queue == name:
                size = str(quota.size)
                etree.SubElement(queue, "quota", name=quota.name, size=size)
    body = etree.tostring(
        root, pretty_print=True, xml_declaration=True, encoding="utf-8"
    )
    context.writeDataFile(FILENAME, body, "text/xml")
    context.getLogger(LOGGER).info("Queues and quotas exported.")


def read(body: bytes) -> list[DeclaredQueue]:
    """What a file says; ClockworkXMLError if that makes no sense."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True)
    try:
        root = etree.fromstring(body, parser)
    except etree.XMLSyntaxError as error:
        raise ClockworkXMLError(f"{FILENAME} is no XML: {error}") from error
    if root.tag != ROOT:
        raise _error(root, f"the outermost element must be <{ROOT}>")
    _check_shape(root)
    queues: dict[str, DeclaredQueue] = {}
    for element in _children(root):
        queue = _queue(element)
        if queue.name in queues:
            raise _error(element, f"name is {queue.name!r}, as in a queue above it")
        queues[queue.name] = queue
    return list(queues.values())


def _queue(element: etree._Element) -> DeclaredQueue:
    queue = DeclaredQueue(_name(element), _truth(element, "purge"))
    for inner in _children(element):
        quota = _quota(inner)
        if quota.name in queue.quotas:
            raise _error(inner, f"name is {quota.name!r}, as in a quota above it")
        queue.quotas[quota.name] = quota
    return queue


def _quota(element: etree._Element) -> DeclaredQuota:
    name = _name(element)
    size = element.get("size")
    overwrite = _truth(element, "overwrite")
    if not _truth(element, "remove"):
        return DeclaredQuota(name, _size(element), overwrite)
    if name == quotas.DEFAULT_QUOTA:
        raise _error(element, f'remove is "true", but {name!r} cannot be removed')
    if size is not None or overwrite:
        raise _error(element, 'remove is "true": leave out size and overwrite')
    return DeclaredQuota(name, None, False)


def _name(element: etree._Element) -> str:
    name = element.get("name")
    if name is None:
        raise _error(element, "it needs a name")
    if name == "" and element.tag == "queue":
        return name
    try:
        quotas.check_name("name", name)
    except ValueError as error:
        raise _error(element, str(error)) from error
    return name


def _size(element: etree._Element) -> int:
    text = element.get("size")
    if text is None:
        raise _error(element, 'it needs a size, or remove="true"')
    if SIZE.fullmatch(text) is None:
        raise _error(element, f"size is {text!r}: it must be a whole number, 0 or more")
    return int(text)


def _truth(element: etree._Element, name: str) -> bool:
    text = element.get(name, "false")
    if text.lower() not in TRUTHS:
        raise _error(element, f'{name} is {text!r}: it must be "true" or "false"')
    return TRUTHS[text.lower()]


def _check_shape(element: etree._Element) -> None:
    """Raise for attributes, elements and text that do not belong there."""
    known = ATTRIBUTES[element.tag]
    for name, value in element.attrib.items():
        if (element.tag, name) == ("queue", "remove"):
            raise _error(
                element,
                f"remove is {value!r}, but a file cannot remove a queue, because a job "
                "that is put into it meanwhile would be lost",
            )
        if name not in known:
            advice = hint(name, known) if known else "it has no attributes"
            raise _error(element, f"{name}={value!r} is unknown; {advice}")
    inside = INSIDE[element.tag]
    for text in (element.text, *(child.tail for child in element)):
        if text is not None and text.strip():
            raise _error(element, f"it has the text {text.strip()!r}, which is unknown")
    for child in _children(element):
        if child.tag != inside:
            expected = "nothing" if inside is None else f"<{inside}>"
            raise _error(child, f"inside of <{element.tag}> there may be {expected}")
        _check_shape(child)


def _children(element: etree._Element) -> list[etree._Element]:
    """The elements inside, without comments."""
    return list(element.iterchildren(tag=etree.Element))


def _error(element: etree._Element, problem: str) -> ClockworkXMLError:
    name = element.get("name")
    shown = f"<{element.tag}>" if name is None else f"<{element.tag} name={name!r}>"
    return ClockworkXMLError(
        f"{FILENAME}, line {element.sourceline}, {shown}: {problem}"
    )


def _others(queue: DeclaredQueue) -> list[str]:
    """Names of the quotas that the file does not name."""
    return [
        quota.name
        for quota in quotas.list_quotas()
        if quota.queue == queue.name
        and quota.name not in queue.quotas
        and quota.name != quotas.DEFAULT_QUOTA
    ]


def _remove(queue_name: str, name: str, logger) -> None:
    try:
        quotas.remove(queue_name, name)
    except LookupError:
        # It is gone, as the file wants it.
        return
    except quotas.QuotaInUseError as error:
        logger.warning(f"Not removed: {error}.")
    else:
        logger.info(f"Quota {name!r} of queue {queue_name!r} removed.")
