"""Lets the layers of this folder stand on those that `tests/plone` prepares.

zope.pytestlayer makes the fixtures of a base layer once, and those made in a
conftest are seen in its folder only.
"""

from collective.clockwork.tests.plone import conftest


globals().update(
    {
        name: value
        for name, value in vars(conftest).items()
        if name.startswith("zope_layer_")
    }
)
