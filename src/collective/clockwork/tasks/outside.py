"""Ask other sites whether a link leads somewhere, without being led into our own net.

Whoever can edit a page can put any address into a link, and the worker may reach what
she cannot: the database, a cloud's metadata, other machines behind the firewall. So
only public addresses are connected to. The address that was checked is the one that is
connected to, so that a name cannot lead elsewhere a moment later, and each redirect is
checked like a link.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from contextlib import contextmanager
from importlib.metadata import version
from ipaddress import ip_address
from ipaddress import IPv4Address
from ipaddress import IPv6Address
from ipaddress import IPv6Network
from urllib.parse import quote
from urllib.parse import urljoin
from urllib.parse import urlsplit

import http.client
import socket
import ssl
import threading


#: Seconds to wait for a connection, or for the next part of an answer.
PATIENCE = 10
#: Seconds for a whole answer, however slowly its parts come.
WHOLE_PATIENCE = 20
#: So many addresses of a name are tried, one after the other.
MOST_ADDRESSES = 3
#: So many redirects are followed.
MOST_REDIRECTS = 5

DEFAULT_PORTS = {"http": 80, "https": 443}

#: Statuses that say that there is nothing.
MISSING = (404, 410)
#: Statuses after which GET is tried, as some servers give them to any HEAD.
NO_HEAD = (400, 403, 404, 405, 501)

#: Translates addresses of the old net into new ones (RFC 6052).
NAT64 = IPv6Network("64:ff9b::/96")

#: Reasons why a link is not checked.
PRIVATE = "private-address"
OTHER_PORT = "port"
#: Reasons why a link is broken; the others are "status-404" and so on.
INVALID = "invalid"
UNKNOWN_HOST = "unknown-host"
UNREACHABLE = "unreachable"
BAD_CERTIFICATE = "certificate"
REDIRECTS = "redirects"


class Unchecked(Exception):
    """A link that must not be asked for; ``reason`` is PRIVATE or OTHER_PORT."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


def ask(url: str, *, private: bool = False) -> str | None:
    """Why this link is broken; None if it leads somewhere.

    An answer that the user would have to log in for counts as somewhere. ``private``
    allows addresses that are not public, and other ports than 80 and 443. Raises
    Unchecked if the link, or one that it redirects to, is not allowed.
    """
    for _hop in range(MOST_REDIRECTS + 1):
        try:
            status, location = _status_of(url, private)
        except ssl.SSLCertVerificationError:
            return BAD_CERTIFICATE
        except (OSError, http.client.HTTPException):
            return UNREACHABLE
        except _Broken as broken:
            return broken.reason
        if 300 <= status < 400 and location:
            try:
                url = urljoin(url, location)
            except ValueError:
                return INVALID
            continue
        if status in MISSING or status >= 500:
            return f"status-{status}"
        return None
    return REDIRECTS


class _Broken(Exception):
    """A link that leads nowhere; says why."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


def _status_of(url: str, private: bool) -> tuple[int, str | None]:
    scheme, host, port, target = _parts(url)
    if port != DEFAULT_PORTS[scheme] and not private:
        raise Unchecked(OTHER_PORT)
    addresses = _addresses(host, port, private)
    status, location = _request("HEAD", scheme, host, port, addresses, target)
    if status in NO_HEAD:
        status, location = _request("GET", scheme, host, port, addresses, target)
    return status, location


def _parts(url: str) -> tuple[str, str, int, str]:
    """Scheme, host, port and what to ask for; names and passwords are left out."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port
        host = (parts.hostname or "").encode("idna").decode("ascii")
        target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
        if parts.query:
            target += "?" + quote(parts.query, safe="/%:@!$&'()*+,;=~-._?[]")
    except ValueError:
        # Also what a name or path that cannot be encoded raises.
        raise _Broken(INVALID) from None
    if parts.scheme not in DEFAULT_PORTS or not host:
        raise _Broken(INVALID)
    return parts.scheme, host, port or DEFAULT_PORTS[parts.scheme], target


def _addresses(host: str, port: int, private: bool) -> list[str]:
    """The addresses to try in turn; each one that the name has must be allowed."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        raise _Broken(UNKNOWN_HOST) from None
    except ValueError:
        raise _Broken(INVALID) from None
    addresses = list(dict.fromkeys(entry[4][0] for entry in found))
    if not private and not all(map(is_public, addresses)):
        raise Unchecked(PRIVATE)
    return addresses[:MOST_ADDRESSES]


def is_public(address: str) -> bool:
    """Whether this is an address in the public net, and leads nowhere else."""
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        inner = _inner_address(ip)
        if inner is not None:
            return is_public(str(inner))
        if ip.is_site_local:
            return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def _inner_address(ip: IPv6Address) -> IPv4Address | None:
    """The old address to which an address of the new net is translated."""
    if ip in NAT64:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)


def _request(
    method: str, scheme: str, host: str, port: int, addresses: list[str], target: str
) -> tuple[int, str | None]:
    with _connected(scheme, host, port, addresses) as connection:
        agent = f"collective.clockwork/{version('collective.clockwork')} (link check)"
        headers = {"User-Agent": agent, "Accept": "*/*", "Connection": "close"}
        connection.request(method, target, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Location")


@contextmanager
def _connected(
    scheme: str, host: str, port: int, addresses: list[str]
) -> Iterator[http.client.HTTPConnection]:
    """A connection to one of these addresses, cut after WHOLE_PATIENCE."""
    plain = _connect(addresses, port)
    # A socket's own timeout begins anew with each byte.
    cut = threading.Timer(WHOLE_PATIENCE, _cut, (plain.dup(),))
    cut.daemon = True
    cut.start()
    connection: http.client.HTTPConnection
    try:
        if scheme == "https":
            context = ssl.create_default_context()
            connection = http.client.HTTPSConnection(host, port, context=context)
            connection.sock = context.wrap_socket(plain, server_hostname=host)
        else:
            connection = http.client.HTTPConnection(host, port)
            connection.sock = plain
        with closing(connection):
            yield connection
    finally:
        cut.cancel()
        for each in (plain, *cut.args):
            each.close()


def _connect(addresses: list[str], port: int) -> socket.socket:
    """Connect to the first address that can be reached; if none can, OSError."""
    *others, last = addresses
    for address in others:
        try:
            return socket.create_connection((address, port), PATIENCE)
        except OSError:
            continue
    return socket.create_connection((last, port), PATIENCE)


def _cut(connected: socket.socket) -> None:
    try:
        connected.shutdown(socket.SHUT_RDWR)
    except OSError:
        # The other side was faster.
        return
