"""The local stack: ZEO, a Plone site and a worker, as processes of this machine."""
