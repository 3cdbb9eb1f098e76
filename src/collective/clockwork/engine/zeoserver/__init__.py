"""For ``zeo.conf``: ``%import collective.clockwork.engine.zeoserver``.

ZConfig imports the package that it is told to; this is all that happens then.
Who starts a ZEO server from Python calls ``commitlock.install`` instead.
"""

from __future__ import annotations

from ..commitlock import install


install()
