"""Ready-made jobs: finding links that lead nowhere."""

from __future__ import annotations

from collective.clockwork.tasks import links
from collective.clockwork.tasks import outside
from collective.clockwork.tests.plone.taskcase import TaskTestCase
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from http.server import ThreadingHTTPServer
from plone import api
from plone.app.redirector.interfaces import IRedirectionStorage
from unittest import mock
from zope.component import getUtility

import pytest
import shutil
import socket
import ssl
import subprocess
import threading
import transaction


class Handler(BaseHTTPRequestHandler):
    """Answers with the status that is the path; "/to/..." redirects there."""

    def do_HEAD(self):
        self.server.asked.append((self.command, self.path, dict(self.headers)))
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path[4:])
        elif self.path == "/loop":
            self.send_response(302)
            self.send_header("Location", "/loop")
        elif self.path == "/to-no-address":
            self.send_response(302)
            self.send_header("Location", "http://[bad")
        elif self.path == "/no-head":
            self.send_response(200 if self.command == "GET" else 405)
        else:
            self.send_response(int(self.path[1:4]))
        self.end_headers()

    do_GET = do_HEAD

    def log_message(self, format, *args):
        """Be silent."""


@contextmanager
def server():
    """A web server on this machine that remembers what it was asked."""
    serving = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    serving.asked = []
    serving.url = f"http://127.0.0.1:{serving.server_port}"
    thread = threading.Thread(target=serving.serve_forever, daemon=True)
    thread.start()
    try:
        yield serving
    finally:
        serving.shutdown()
        serving.server_close()
        thread.join()


class TestLinksInside(TaskTestCase):
    def broken(self, *hrefs):
        """Which of these links, in page "a", are told as broken."""
        text = "".join(f'<p><a href="{href}">there</a></p>' for href in hrefs)
        self.write(self.news["a"], text)
        report = self.run_task("links")
        self.assertEqual({"/news/a"} if report["broken"] else set(), self.paths(report))
        return [link for _path, link, _why in report["broken"]]

    def paths(self, report):
        return {path for path, _link, _why in report["broken"]}

    def test_links_to_objects_are_told_apart_from_links_to_nothing(self):
        good = ["b", "./b", "../news/old/d", "old", "b#part", "b?x=1", "/news/b"]
        bad = ["nowhere", "../nowhere", "old/nowhere/d", "/nowhere"]
        self.assertEqual(sorted(bad), self.broken(*good, *bad))

    def test_full_addresses_of_the_site_are_checked_inside(self):
        url = self.portal.absolute_url()
        links_ = [f"{url}/news/b", f"{url}/news/nowhere", url]
        self.assertEqual([f"{url}/news/nowhere"], self.broken(*links_))

    def test_links_by_uid_are_looked_up(self):
        good = f"resolveuid/{self.old.UID()}"
        bad = ["../resolveuid/0123456789abcdef0123456789abcdef", "resolveuid"]
        self.assertEqual(
            sorted(bad), self.broken(good, f"../{good}/d", f"{good}/@@view", *bad)
        )

    def test_pages_of_objects_count_as_there(self):
        good = [
            "b/view",
            "b/edit",
            "b/@@sharing",
            "../@@search",
            "sitemap",
            "b/@@images/image/mini",
            "++resource++plone/x.css",
        ]
        self.assertEqual(["b/@@no-such-view"], self.broken(*good, "b/@@no-such-view"))

    def test_what_needs_no_page_is_not_checked(self):
        self.assertEqual(
            [], self.broken("#top", "mailto:a@example.org", "tel:123", "javascript:x()")
        )

    def test_old_addresses_that_visitors_are_sent_on_from_are_not_broken(self):
        with api.env.adopt_roles(["Manager"]):
            api.content.rename(self.old, "archive")
        good = ["old", "old/d", "old/d/view", "old/@@sharing", "/news/old/d?x=1"]
        bad = ["old/nowhere/d", "older"]
        self.assertEqual(bad, self.broken(*good, *bad))

    def test_an_old_address_is_judged_by_where_visitors_are_sent(self):
        storage = getUtility(IRedirectionStorage)
        for name, target in (
            ("elsewhere", "https://example.org/"),
            ("lost", "/plone/news/gone"),
            ("page?id=1", "/plone/news/b"),
            ("view", "/plone/news/b/@@no-such-view"),
        ):
            storage.add(f"/plone/news/was-{name}", target)
        links_ = ["was-elsewhere", "was-page?id=1"]
        bad = ["was-lost", "was-page?id=2", "was-view"]
        self.assertEqual(bad, self.broken(*links_, *bad))

    def test_images_and_link_objects_are_checked(self):
        self.write(self.news["a"], '<img src="lost.png">')
        with api.env.adopt_roles(["Manager"]):
            link = api.content.create(self.news, "Link", "link")
            link.remoteUrl = "${portal_url}/lost"
            other = api.content.create(self.news, "Link", "other")
            other.remoteUrl = f"../resolveuid/{self.old.UID()}"
        transaction.commit()
        report = self.run_task("links")
        self.assertEqual(
            [
                ("/news/a", "lost.png", "nothing-there"),
                ("/news/link", "${portal_url}/lost", "nothing-there"),
            ],
            report["broken"],
        )

    def test_a_page_that_the_user_may_not_see_is_not_read(self):
        self.write(self.news["b"], '<a href="secret-plans">x</a>')
        self.leave_edith_only(self.news["b"])
        report = self.run_task("links")
        self.assertEqual(
            (5, 1, []), (report["done"], report["hidden"], report["broken"])
        )

    def test_a_target_that_the_user_may_not_see_is_no_broken_link(self):
        self.leave_edith_only(self.news["b"])
        self.assertEqual([], self.broken("b", f"resolveuid/{self.news['b'].UID()}"))

    def test_other_sites_are_not_asked_unless_that_was_asked_for(self):
        with server() as other:
            self.assertEqual([], self.broken(f"{other.url}/404"))
        self.assertEqual([], other.asked)


class TestLinksOutside(TaskTestCase):
    def test_each_address_is_asked_once(self):
        with server() as other:
            for page in (self.news["a"], self.news["b"]):
                url = f"{other.url}/404"
                self.write(page, f'<a href="{url}">x</a> <a href="{url}#y">y</a>')
            report = self.run_task("links", outside=True, private_addresses=True)
        self.assertEqual(4, report["broken_total"])
        self.assertEqual(
            ("/news/a", f"{other.url}/404", "status-404"), report["broken"][0]
        )
        self.assertEqual(["HEAD", "GET"], [method for method, *_rest in other.asked])

    def test_private_addresses_are_not_connected_to_and_told(self):
        with server() as other:
            text = f'<a href="{other.url}/200">x</a><a href="http://127.0.0.1/">y</a>'
            self.write(self.news["a"], text)
            report = self.run_task("links", outside=True)
        self.assertEqual([], other.asked)
        self.assertEqual([], report["broken"])
        self.assertEqual(
            [
                ("/news/a", "http://127.0.0.1/", "private-address"),
                ("/news/a", f"{other.url}/200", "port"),
            ],
            report["unchecked"],
        )

    def test_a_link_without_scheme_and_an_invalid_one_are_told(self):
        self.write(self.news["a"], '<a href="//no-such.invalid/x">x</a>')
        self.write(self.news["b"], '<a href="http://[x/">x</a>')
        report = self.run_task("links", outside=True)
        self.assertEqual(
            [
                ("/news/a", "//no-such.invalid/x", "unknown-host"),
                ("/news/b", "http://[x/", "invalid"),
            ],
            report["broken"],
        )

    def test_a_link_that_cannot_be_encoded_hides_no_other_one(self):
        bad = "http://127.0.0.1/\ud800"
        with api.env.adopt_roles(["Manager"]):
            for name in ("link", "same"):
                api.content.create(self.news, "Link", name, remoteUrl=bad)
        self.write(self.news["a"], '<a href="//no-such.invalid/x">x</a>')
        with mock.patch.object(outside, "ask", wraps=outside.ask) as asked:
            report = self.run_task("links", outside=True)
        self.assertEqual(([], 8), (report["failed"], report["done"]))
        self.assertEqual(
            [
                ("/news/a", "//no-such.invalid/x", "unknown-host"),
                ("/news/link", bad, "invalid"),
                ("/news/same", bad, "invalid"),
            ],
            report["broken"],
        )
        self.assertEqual(2, asked.call_count)

    def test_a_job_asks_for_so_many_addresses_at_most(self):
        with server() as other, mock.patch.object(links, "MOST_OUTSIDE", 1):
            text = f'<a href="{other.url}/200">x</a><a href="{other.url}/204">x</a>'
            self.write(self.news["a"], text)
            report = self.run_task("links", outside=True, private_addresses=True)
        self.assertEqual(
            [("/news/a", f"{other.url}/204", "too-many")], report["unchecked"]
        )


@pytest.mark.parametrize(
    "path, reason",
    [
        ("/200", None),
        ("/401", None),
        ("/429", None),
        ("/no-head", None),
        ("/404", "status-404"),
        ("/410", "status-410"),
        ("/503", "status-503"),
        ("/to//200", None),
        ("/to//404", "status-404"),
        ("/loop", "redirects"),
        ("/to-no-address", "invalid"),
    ],
)
def test_what_a_server_answers_says_whether_a_link_is_broken(path, reason):
    with server() as other:
        assert outside.ask(other.url + path, private=True) == reason


def test_a_name_that_leads_nowhere_and_a_closed_port_are_told_apart():
    with server() as other:
        closed = other.url
    assert outside.ask(closed, private=True) == "unreachable"
    assert outside.ask("http://no-such-host.invalid/") == "unknown-host"


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "http://[::1",
        "ftp://example.org/",
        "http://a:99999/",
        "x",
        "http://127.0.0.1/\ud800",
        "http://127.0.0.1/?\ud800",
        "http://\ud800/",
    ],
)
def test_what_is_no_address_is_invalid(url):
    assert outside.ask(url) == "invalid"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "[::1]",
        "[::]",
        "[fe80::1]",
        "[fc00::1]",
        "[ff02::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:169.254.169.254]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "localhost",
        "user:secret@127.0.0.1",
    ],
)
def test_addresses_of_our_own_net_are_refused(host):
    with mock.patch.object(socket, "create_connection") as connect:
        with pytest.raises(outside.Unchecked) as caught:
            outside.ask(f"http://{host}/")
    assert caught.value.reason == "private-address"
    connect.assert_not_called()


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1"])
def test_public_addresses_are_public(address):
    assert outside.is_public(address)


def names(*addresses):
    """A resolver that gives these for any name."""

    def resolve(host, port, *args, **kwargs):
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port)) for a in addresses
        ]

    return mock.patch.object(socket, "getaddrinfo", resolve)


def test_a_name_that_cannot_be_looked_up_is_invalid():
    with mock.patch.object(socket, "getaddrinfo", side_effect=UnicodeError):
        assert outside.ask("http://example.org/") == "invalid"


def test_a_name_with_one_private_address_is_refused():
    with names("93.184.216.34", "10.0.0.1"):
        with pytest.raises(outside.Unchecked):
            outside.ask("http://example.org/")


def test_the_address_that_was_checked_is_the_one_that_is_connected_to():
    asked = []

    def refuse(address, timeout):
        asked.append(address)
        raise ConnectionRefusedError

    with names("93.184.216.34"), mock.patch.object(socket, "create_connection", refuse):
        assert outside.ask("http://example.org/") == "unreachable"
    assert asked == [("93.184.216.34", 80)]


def test_the_first_three_addresses_of_a_name_are_tried():
    asked = []

    def connect(address, timeout):
        asked.append(address[0])
        if len(asked) % 3:
            raise ConnectionRefusedError
        connected = socket.socket()
        connected.settimeout(timeout)
        connected.connect(("127.0.0.1", other.server_port))
        return connected

    many = [f"93.184.216.{number}" for number in (1, 1, 2, 3, 4)]
    with server() as other, names(*many):
        with mock.patch.object(socket, "create_connection", connect):
            assert outside.ask("http://example.org/200") is None
    assert asked == ["93.184.216.1", "93.184.216.2", "93.184.216.3"]


def test_a_name_whose_fourth_address_is_private_is_refused_too():
    many = [f"93.184.216.{number}" for number in (1, 2, 3)]
    with names(*many, "10.0.0.1"):
        with pytest.raises(outside.Unchecked):
            outside.ask("http://example.org/")


def test_a_redirect_into_our_own_net_is_refused():
    real = socket.create_connection
    with server() as other:

        def connect(address, timeout):
            assert address == ("93.184.216.34", 80)
            return real(("127.0.0.1", other.server_port), timeout)

        with (
            mock.patch.object(
                outside, "_addresses", wraps=outside._addresses
            ) as checked,
            mock.patch.object(socket, "create_connection", connect),
        ):
            with pytest.raises(outside.Unchecked):
                outside.ask("http://93.184.216.34/to/http://127.0.0.1/")
    assert [call.args[0] for call in checked.call_args_list] == [
        "93.184.216.34",
        "127.0.0.1",
    ]


def test_neither_names_nor_passwords_nor_line_ends_are_sent():
    with server() as other:
        url = other.url.replace("://", "://anna:secret@")
        assert outside.ask(f"{url}/200 x\r\nX-Own: 1", private=True) is None
    ((_method, path, headers),) = other.asked
    assert path.startswith("/200%20x")
    assert not {"Authorization", "X-Own", "Cookie"} & set(headers)


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")
def test_a_certificate_that_nobody_vouches_for_is_told(tmp_path):
    names_ = {name: str(tmp_path / f"{name}.pem") for name in ("cert", "key")}
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        + ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        + ["-out", names_["cert"], "-keyout", names_["key"]],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(names_["cert"], names_["key"])
    vouching = ssl.create_default_context(cafile=names_["cert"])
    with server() as other:
        other.socket = context.wrap_socket(other.socket, server_side=True)
        url = f"https://localhost:{other.server_port}/200"
        assert outside.ask(url, private=True) == "certificate"
        with mock.patch.object(ssl, "create_default_context", lambda: vouching):
            assert outside.ask(url, private=True) is None


def test_an_answer_that_drips_is_cut():
    listening = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def drip():
        connected, _address = listening.accept()
        with connected:
            connected.sendall(b"HTTP/1.0 ")
            while not stop.wait(0.05):
                try:
                    connected.sendall(b"x")
                except OSError:
                    return

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    with listening, mock.patch.object(outside, "WHOLE_PATIENCE", 0.5):
        port = listening.getsockname()[1]
        try:
            found = outside.ask(f"http://127.0.0.1:{port}/", private=True)
        finally:
            stop.set()
            thread.join()
    assert found == "unreachable"
