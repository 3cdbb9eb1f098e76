"""Moments at which the tests stop the clock."""

from __future__ import annotations

from datetime import datetime
from datetime import timezone


#: When the fixture ``frozen`` stops it.
NOW = datetime(2030, 1, 1, tzinfo=timezone.utc)
