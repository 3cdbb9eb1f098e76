"""Fixtures from our plone.app.testing layers, for test functions of this folder.

``integration`` and ``functional`` set up what a layer sets up for one test and give
the layer, whose resources are ``integration["portal"]``, ``functional["app"]`` and so
on. Test cases with an attribute ``layer`` work without them.

This module imports Plone, which is why it isn't further up: the engine's tests
run without.
"""

from collective.clockwork.testing import COLLECTIVE_CLOCKWORK_FUNCTIONAL_TESTING
from collective.clockwork.testing import COLLECTIVE_CLOCKWORK_INTEGRATION_TESTING
from zope.pytestlayer import fixture

import pytest


LAYERS = {
    "integration": COLLECTIVE_CLOCKWORK_INTEGRATION_TESTING,
    "functional": COLLECTIVE_CLOCKWORK_FUNCTIONAL_TESTING,
}

for name, layer in LAYERS.items():
    globals().update(
        fixture.create(
            layer,
            session_fixture_name=f"{name}_session",
            class_fixture_name=f"{name}_class",
            function_fixture_name=name,
        )
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Tell zope.pytestlayer the layer of each test that asks for one by fixture.

    It sorts the tests by layer, and keeps a layer set up as long as the next test
    needs it, only if the test itself has the attribute.
    """
    for item in items:
        for name in LAYERS.keys() & set(getattr(item, "fixturenames", ())):
            item.layer = LAYERS[name]
