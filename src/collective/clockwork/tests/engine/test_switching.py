"""The interpreter's switch interval is the process's own again after groups."""

from __future__ import annotations

from collective.clockwork.engine.switching import INTERVAL
from collective.clockwork.engine.switching import switch_often

import pytest
import sys


@pytest.fixture
def own_interval():
    """What the application has chosen for itself."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.003)
    yield sys.getswitchinterval()
    switch_often(False)
    sys.setswitchinterval(before)


def test_it_is_short_for_groups_and_as_before_afterwards(own_interval):
    switch_often(True)
    switch_often(True)
    assert sys.getswitchinterval() == pytest.approx(INTERVAL)
    switch_often(False)
    assert sys.getswitchinterval() == own_interval


def test_without_groups_it_is_left_alone(own_interval):
    switch_often(False)
    assert sys.getswitchinterval() == own_interval
