"""Methods of which one runs at a time."""

from __future__ import annotations

from collective.clockwork.eventdispatcher import instance_method_lock
from twisted.internet.defer import Deferred


class Printer:
    def __init__(self):
        self.begun = []

    @instance_method_lock("_press")
    def print(self, page, done):
        """Print a page."""
        self.begun.append(page)
        return done

    @instance_method_lock("_press")
    def clean(self):
        self.begun.append("clean")

    @instance_method_lock("_tray")
    def fill(self):
        self.begun.append("fill")


def test_methods_with_one_lock_wait_for_each_other(result):
    printer, done = Printer(), Deferred()
    printed, cleaned = printer.print(1, done), printer.clean()
    result(printer.fill())
    assert printer.begun == [1, "fill"]
    done.callback("printed")
    assert printer.begun == [1, "fill", "clean"]
    assert result(printed) == "printed"
    assert result(cleaned) is None


def test_another_instance_has_a_lock_of_its_own(result):
    Printer().print(1, Deferred())
    other = Printer()
    result(other.clean())
    assert other.begun == ["clean"]


def test_the_method_keeps_its_name():
    assert (Printer.print.__name__, Printer.print.__doc__) == ("print", "Print a page.")
