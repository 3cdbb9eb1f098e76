"""The worker's monitor port: on if zope.conf asks for it.

::

    <product-config collective.clockwork>
        monitor 8890
    </product-config>

The value is a port of 127.0.0.1, a ``host:port``, or the full name of a socket file.
The section ``zc.z3monitor`` with its ``port`` is understood as well, as it was by
plone.app.async; ours goes first. What can be asked there, and by whom, is
described in ``engine.monitorserver``.
"""

from __future__ import annotations

from App.config import getConfiguration
from collections.abc import Mapping
from collective.clockwork.engine import monitorserver
from typing import Any

import atexit
import logging


logger = logging.getLogger("collective.clockwork")

#: Sections of zope.conf and their keys, in the order in which they are asked.
SECTIONS = (("collective.clockwork", "monitor"), ("zc.z3monitor", "port"))

Address = int | tuple[str, int] | str

_monitors: list[monitorserver.Monitor] = []


def configured_address() -> Address | None:
    """Where zope.conf wants the monitor; None for nowhere.

    Raises ValueError for a value that is no address.
    """
    configuration = getConfiguration()
    products: Mapping[str, Any] = getattr(configuration, "product_config", None) or {}
    for section, key in SECTIONS:
        value = products.get(section, {}).get(key)
        if value is not None:
            return _address(value, section, key)
    return None


def start(db: Any) -> monitorserver.Monitor | None:
    """Listen where zope.conf says, until :func:`stop` or the end of the process.

    ``db`` is the database of the queues. That it fails is logged: jobs are run
    without it, too.
    """
    try:
        address = configured_address()
        if address is None:
            return None
        monitor = monitorserver.start(address, db)
    except (OSError, ValueError) as error:
        logger.error("The monitor was not started: %s", error)
        return None
    if not _monitors:
        atexit.register(stop)
    _monitors.append(monitor)
    logger.info("The monitor listens on %s", monitor.address)
    return monitor


def stop() -> None:
    """Listen no more. Call it before the databases are closed."""
    atexit.unregister(stop)
    while _monitors:
        _monitors.pop().close()


def _address(value: str, section: str, key: str) -> Address:
    """What a value of zope.conf means."""
    if value.startswith("/"):
        return value
    host, colon, port = value.rpartition(":")
    if not port.isdecimal() or int(port) > 65535 or (colon and not host):
        raise ValueError(
            f"<product-config {section}> in zope.conf has {key} {value!r}: give a "
            "port, host:port, or the full name of a socket file"
        )
    return (host.strip("[]"), int(port)) if colon else int(port)
