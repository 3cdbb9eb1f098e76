"""The names of collective.timedevents, for add-ons that import or subscribe to them.

All objects are those of ``collective.clockwork``; which names are missing and why, see
``docs/porting.rst``.
"""
