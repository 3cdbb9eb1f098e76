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

    It keeps the one of the last time, which may not be free yet, or again.
    """
    zope = sys.modules.get("plone.testing.zope")
    if zope is not None:
        forget_port_at_the_end(zope.WSGI_SERVER_FIXTURE)


def forget_port_at_the_end(layer):
    if "tearDownServer" in vars(layer):
        return
    tear_down = layer.tearDownServer

    def tear_down_server():
        tear_down()
        vars(layer).pop("port", None)

    layer.tearDownServer = tear_down_server
