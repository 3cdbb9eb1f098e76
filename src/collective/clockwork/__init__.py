from zope.i18nmessageid import MessageFactory

import importlib


_ = MessageFactory("collective.clockwork")

#: What the package offers itself, and the module that has it. Loaded when it is asked
#: for, because the engine is used without Plone.
_EXPORTED = {
    "Job": "job",
    "RetryWithDelay": "retry",
    "background": "decorator",
    "queue": "job",
}


def __getattr__(name):
    if name in _EXPORTED:
        module = importlib.import_module(f"{__name__}.{_EXPORTED[name]}")
        return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
