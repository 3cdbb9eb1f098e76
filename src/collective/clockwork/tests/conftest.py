"""What all tests share. It must not import Plone: the engine is tested without."""

import os
import pytest


@pytest.fixture(scope="session", autouse=True)
def no_variables_of_a_running_cluster():
    """Keep the variables of a worker started from this shell out of the tests."""
    os.environ.pop("ZC_ASYNC_UUID", None)
