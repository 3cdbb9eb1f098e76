"""What ``<clock-server>`` sections of zope.conf start, and in which processes.

In those that serve (`IProcessStarting`), ``clockwork-worker`` among them, and not
in ``zconsole``, which sends that event too. Scripts that only open the application
send no such event.
"""

from __future__ import annotations

from collective.clockwork.clocksection import sections_in
from collective.clockwork.clockthread import Clock
from collective.clockwork.clockthread import logger
from collective.clockwork.clockthread import running
from collective.clockwork.clockthread import stop
from collective.clockwork.clockthread import stop_before_signals
from collective.clockwork.startup import is_console
from typing import Any

import App.config
import atexit
import Zope2


def start(event: Any) -> None:
    """Handler of IProcessStarting: start the clocks of this process."""
    config = App.config.getConfiguration()
    sections = sections_in(getattr(config, "product_config", None))
    if not sections or running:
        return
    if is_console():
        logger.info("This is zconsole, so its clock-servers call nothing")
        return
    # First, so that there is no moment at which a signal finds a call unguarded.
    atexit.register(stop)
    stop_before_signals()
    for section in sections:
        clock = Clock(section, Zope2.DB)
        clock.announce()
        clock.start()
        running.append(clock)
