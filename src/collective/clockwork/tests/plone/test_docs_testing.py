"""The examples of the chapter about tests."""

from __future__ import annotations

from collective.clockwork import testing
from collective.clockwork.tests.codeblocks import named_blocks
from types import ModuleType

import collective.clockwork
import pytest
import sys
import unittest


@pytest.fixture
def example(monkeypatch):
    """Runs a block of the page; gives what it defined."""
    monkeypatch.setitem(sys.modules, "my", ModuleType("my"))
    monkeypatch.setitem(sys.modules, "my.addon", collective.clockwork)
    blocks = named_blocks("docs/testing.rst")

    def run(name):
        names = {"__name__": f"{__name__}.{name}"}
        exec(compile(blocks[name], name, "exec"), names)
        return names

    return run


def has_passed(case: unittest.TestCase) -> bool:
    result = unittest.TestResult()
    case.run(result)
    assert (result.errors, result.failures) == ([], [])
    return result.testsRun == 1


class TestOnTheIntegrationLayer(unittest.TestCase):
    layer = testing.COLLECTIVE_CLOCKWORK_INTEGRATION_TESTING

    @pytest.fixture(autouse=True)
    def use_example(self, example):
        self.example = example

    def test_the_example_of_what_is_queued(self):
        kind = self.example("test_queued.py")["QueuedTests"]
        self.assertIs(self.layer, kind.layer)
        self.assertTrue(has_passed(kind("test_a_call_is_queued")))


class TestOnTheLayerWithAWorker(unittest.TestCase):
    layer = testing.COLLECTIVE_CLOCKWORK_WORKER_FUNCTIONAL_TESTING

    @pytest.fixture(autouse=True)
    def use_example(self, example):
        self.example = example

    def test_the_example_with_a_worker(self):
        kind = self.example("test_with_worker.py")["WorkerTests"]
        self.assertIs(self.layer, kind.layer)
        self.assertTrue(has_passed(kind("test_a_page_is_made")))


def test_the_example_of_layers_gives_each_family_its_fixture(example):
    names = example("testing.py")
    quiet, busy = names["FUNCTIONAL_TESTING"], names["WORKER_TESTING"]
    assert testing.COLLECTIVE_CLOCKWORK_FIXTURE in quiet.baseResolutionOrder
    assert testing.COLLECTIVE_CLOCKWORK_WORKER_FIXTURE in busy.baseResolutionOrder
    testing.registerAsyncLayers([names["WORKER_FIXTURE"], busy])
    with pytest.raises(TypeError, match="AddOn:Functional"):
        testing.registerAsyncLayers(quiet)
