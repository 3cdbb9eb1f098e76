"""Old packages that this one replaces, and that must not be installed beside it.

ZCML says ``<clockwork:replaces distribution="..." />``, and start-up ends there with a
message if such a distribution is installed.
"""

from __future__ import annotations

from importlib import metadata
from zope.configuration.exceptions import ConfigurationError
from zope.interface import Interface
from zope.schema import TextLine

import re


class IReplaces(Interface):
    """The attributes of ``<clockwork:replaces>``."""

    distribution = TextLine(
        title="Distribution",
        description="Name of a distribution whose packages are in ours.",
    )


def refuse_replaced(_context, distribution: str) -> None:
    """ConfigurationError that says what to do, if this distribution is installed."""
    try:
        found = metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return
    raise ConfigurationError(
        f"{distribution} {found.version} is installed in {found.locate_file('')}, and "
        f"collective.clockwork has a package of that name itself. Take {distribution} "
        "out: in a buildout out of all lists of eggs; elsewhere by 'pip uninstall "
        f"{distribution}' and then 'pip install --force-reinstall --no-deps "
        "collective.clockwork', because the one may have written over files of the "
        f"other. {_required_by(distribution)}"
    )


def _required_by(distribution: str) -> str:
    wanted = _normalized(distribution)
    names = {
        each.metadata["Name"]
        for each in metadata.distributions()
        for requirement in each.requires or ()
        if _normalized(requirement) == wanted
    }
    if not names:
        return "No other distribution requires it."
    return (
        f"It is required by {', '.join(sorted(names))}: "
        "put collective.clockwork in its place there, or it comes back."
    )


def _normalized(requirement: str) -> str:
    # What follows the name is a version, an extra, a marker or an address.
    name = re.split(r"[^\w.-]", requirement.strip(), maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", name).lower()
