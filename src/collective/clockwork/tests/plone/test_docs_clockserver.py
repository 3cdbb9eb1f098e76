"""The examples of docs/clockserver.rst are read as Zope and buildout read them."""

from __future__ import annotations

from collective.clockwork.clocksection import ClockSection
from collective.clockwork.clocksection import sections_in
from collective.clockwork.clockthread import logger
from collective.clockwork.tests.codeblocks import named_blocks
from collective.clockwork.tests.plone import instancehome
from configparser import ConfigParser
from configparser import RawConfigParser
from logging.config import fileConfig
from Zope2.Startup.options import ZopeWSGIOptions

import logging
import pytest


BLOCKS = named_blocks("docs/clockserver.rst")


@pytest.fixture
def parse(tmp_path):
    """Reads a zope.conf with this text in it, and gives the clocks."""

    def read(text):
        path = instancehome.write(tmp_path, more=text)
        options = ZopeWSGIOptions(configfile=str(path))()
        return sections_in(options.configroot.product_config)

    return read


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (
            "zope.conf",
            [
                ClockSection(
                    name="tick",
                    method="/Plone/@@tick",
                    user="ticker",
                    password="the-password-of-ticker",
                    host="www.example.org",
                )
            ],
        ),
        (
            "clocks.conf",
            [
                ClockSection(
                    name=name,
                    method=method,
                    period=period,
                    user="ticker",
                    password_file="/run/secrets/ticker",
                )
                for name, method, period in (
                    ("all/1", "/Plone/@@tick", 60),
                    ("all/2", "/Plone/@@tick_daily", 86400),
                )
            ],
        ),
        (
            "virtual.conf",
            [
                ClockSection(
                    name="public",
                    method="/VirtualHostBase/https/www.example.org:443/Plone"
                    "/VirtualHostRoot/@@tick",
                    user="ticker",
                    password_env="TICKER_PASSWORD",
                )
            ],
        ),
        (
            "once.conf",
            [
                ClockSection(
                    name="digest",
                    method="/Plone/@@send-digest",
                    period=3600,
                    user="ticker",
                    password_env="TICKER_PASSWORD",
                    once=True,
                )
            ],
        ),
    ],
)
def test_the_examples_of_zope_conf(parse, block, expected):
    assert parse(BLOCKS[block]) == expected


def test_the_example_of_a_buildout(parse):
    """What the recipe makes of it is in acceptance/test_clockserver_buildout.py."""
    buildout = RawConfigParser()
    buildout.read_string(BLOCKS["buildout.cfg"])
    options = buildout["instance"]
    imports = f"%import {options['zope-conf-imports'].strip()}\n"
    (clock,) = parse(imports + options["zope-conf-additional"])
    assert clock.name == "tick"
    assert clock.password_env in options["environment-vars"]


def test_the_example_of_a_logger_shows_each_call(tmp_path):
    example = ConfigParser()
    example.read_string(BLOCKS["zope.ini"])
    example.read_dict(
        {
            "loggers": {"keys": "root, clock"},
            "handlers": {"keys": ""},
            "formatters": {"keys": ""},
            "logger_root": {"handlers": ""},
        }
    )
    path = tmp_path / "zope.ini"
    with path.open("w") as stream:
        example.write(stream)
    level, root, handlers = logger.level, logging.root.level, logging.root.handlers[:]
    try:
        fileConfig(path, disable_existing_loggers=False)
        assert logger.level == logging.DEBUG
    finally:
        logger.setLevel(level)
        logging.root.setLevel(root)
        logging.root.handlers[:] = handlers
