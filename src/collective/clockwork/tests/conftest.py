"""What all tests share. It must not import Plone: the engine is tested without."""

import os
import pytest
import sys


@pytest.fixture(scope="session", autouse=True)
def process_uuid_of_the_tests(tmp_path_factory):
    """Give the test process a UUID file of its own.

    Neither a worker started from the same shell is meant, nor is a file left in
    the current directory.
    """
    before = os.environ.get("ZC_ASYNC_UUID")
    os.environ["ZC_ASYNC_UUID"] = str(tmp_path_factory.mktemp("uuid") / "uuid.txt")
    yield
    if before is None:
        del os.environ["ZC_ASYNC_UUID"]
    else:
        os.environ["ZC_ASYNC_UUID"] = before


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Let plone.testing's web server choose a free port whenever it is set up anew.

    It keeps the one of the last time, which something else may have taken since.
    """
    zope = sys.modules.get("plone.testing.zope")
    if zope is not None and zope.WSGI_SERVER_FIXTURE.get("port") is None:
        vars(zope.WSGI_SERVER_FIXTURE).pop("port", None)
