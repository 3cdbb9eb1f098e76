"""What zope.conf may say about clocks, read as Zope reads it."""

from __future__ import annotations

from collective.clockwork.clocksection import ClockSection
from collective.clockwork.clocksection import PasswordMissing
from collective.clockwork.clocksection import sections_in
from collective.clockwork.tests.plone import instancehome
from ZConfig import ConfigurationError
from Zope2.Startup.options import ZopeWSGIOptions

import pytest
import subprocess
import sys


IMPORT = "%import collective.clockwork\n"

FULL = """\
<clock-server Tick>
  method /Plone/@@tick?x=1
  period 90
  user admin
  password secret
  host www.example.org
</clock-server>
"""


@pytest.fixture
def parse(tmp_path):
    """Reads a zope.conf with this text in it, and gives the clocks."""

    def read(text, before=IMPORT):
        path = instancehome.write(tmp_path, more=before + text)
        options = ZopeWSGIOptions(configfile=str(path))()
        return sections_in(options.configroot.product_config)

    return read


@pytest.fixture
def refusal(parse):
    """Reads a section, and gives the text of the refusal."""

    def read(*lines, name="tick"):
        inner = "\n".join(f"  {line}" for line in lines)
        with pytest.raises(ConfigurationError) as refused:
            parse(f"<clock-server {name}>\n{inner}\n</clock-server>\n")
        return str(refused.value)

    return read


def test_the_five_keys_of_zserver_are_read(parse):
    assert parse(FULL) == [
        ClockSection(
            name="tick",
            method="/Plone/@@tick?x=1",
            period=90,
            user="admin",
            password="secret",
            host="www.example.org",
        )
    ]


def test_a_method_is_enough_and_the_period_is_a_minute(parse):
    (clock,) = parse("<clock-server tick>\n  method /@@tick\n</clock-server>\n")
    assert clock == ClockSection(name="tick", method="/@@tick")
    assert clock.period == 60
    assert clock.once is False
    assert clock.credentials() is None


def test_several_sections_are_read_in_their_order(parse):
    second = FULL.replace("Tick", "other").replace("90", "30")
    assert [clock.period for clock in parse(FULL + second)] == [90, 30]


def test_old_blocks_without_a_name_go_into_a_clocks_section(parse):
    unnamed = FULL.replace(" Tick", "")
    named = FULL.replace("Tick", "nightly")
    clocks = parse(f"<clocks all>\n{unnamed}{unnamed}{named}</clocks>\n")
    assert [clock.name for clock in clocks] == ["all/1", "all/2", "all/nightly"]
    assert {clock.method for clock in clocks} == {"/Plone/@@tick?x=1"}


def test_an_old_block_without_a_name_is_refused_at_the_top(parse):
    with pytest.raises(ConfigurationError, match="not an allowed name"):
        parse(FULL.replace(" Tick", ""))


def test_without_the_import_zope_does_not_know_the_section(parse):
    with pytest.raises(ConfigurationError, match="unknown type name"):
        parse(FULL, before="")


def test_other_sections_of_products_are_no_clocks(parse):
    assert parse("<product-config other>\n  key value\n</product-config>\n") == []
    assert sections_in(None) == []


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        (["period 60"], "method is missing"),
        (["method Plone/@@tick"], "'Plone/@@tick' and has to begin with a slash"),
        (["method /Plone/%FF"], "no UTF-8 when unquoted"),
        (["method /@@tick", "period 0"], "period is 0 and has to be 1 second or more"),
        (["method /@@tick", "period -5"], "period is -5 and has to be"),
        (["method /@@tick", "host https://example.org"], "has to be a name, with a"),
        (["method /@@tick", "user a:b", "password x"], "user is 'a:b'"),
        (
            ["method /@@tick", "user a", "password x", "password-env Y"],
            "it has password and password-env. Keep one",
        ),
        (
            ["method /@@tick", "user a", "password-env Y", "password-file /z"],
            "it has password-env and password-file. Keep one",
        ),
        (
            ["method /@@tick", "user a", "password-file etc/secret"],
            "'etc/secret' and has to be an absolute path",
        ),
    ],
)
def test_wrong_values_are_refused_with_the_name_of_the_section(
    refusal, lines, complaint
):
    message = refusal(*lines, name="nightly")
    assert "<clock-server nightly>: " in message
    assert complaint in message


def test_a_period_that_is_no_number_is_refused_with_its_line(refusal):
    assert "'soon'" in refusal("method /@@tick", "period soon")


def test_a_refusal_does_not_show_the_password(refusal):
    message = refusal("method tick", "user admin", "password s3cr3t")
    assert "s3cr3t" not in message


def test_a_printed_section_does_not_show_the_password(parse):
    assert "secret" not in repr(parse(FULL))


def test_a_dollar_sign_in_a_password_is_written_twice(parse):
    (clock,) = parse(FULL.replace("secret", "se$$cret"))
    assert clock.credentials() == ("admin", "se$cret")


def test_a_password_may_come_from_the_environment_and_is_read_at_each_call():
    clock = ClockSection("tick", "/@@tick", user="admin", password_env="SECRET")
    assert clock.credentials({"SECRET": "first"}) == ("admin", "first")
    assert clock.credentials({"SECRET": "second"}) == ("admin", "second")
    for environ in ({}, {"SECRET": ""}):
        with pytest.raises(PasswordMissing, match="variable SECRET is not set or is"):
            clock.credentials(environ)


def test_a_password_may_come_from_a_file_and_is_read_at_each_call(tmp_path):
    path = tmp_path / "secret"
    clock = ClockSection("tick", "/@@tick", user="admin", password_file=str(path))
    with pytest.raises(PasswordMissing, match=f"{path} cannot be read: .*No such file"):
        clock.credentials()
    path.write_text("first\n")
    assert clock.credentials() == ("admin", "first")
    path.write_text("second with spaces \nanother line\n")
    assert clock.credentials() == ("admin", "second with spaces ")
    path.write_text("\nlater\n")
    with pytest.raises(
        PasswordMissing, match=f"first line of the file {path} is empty"
    ):
        clock.credentials()


def test_a_call_is_anonymous_without_a_user_or_without_a_password():
    assert ClockSection("tick", "/@@tick", user="admin").credentials() is None
    assert ClockSection("tick", "/@@tick", password="secret").credentials() is None


def test_reading_the_sections_loads_nothing_of_zope():
    """ZConfig imports this before Zope has patched what it patches."""
    script = (
        "import collective.clockwork.clocksection, sys; "
        "print(sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout
    for name in ("Zope2", "ZPublisher", "OFS", "plone", "Products", "ZODB", "App"):
        assert f"'{name}'" not in loaded
