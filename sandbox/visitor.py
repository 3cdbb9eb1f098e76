"""Somebody who uses the site over HTTP, as a browser or a program would."""

from __future__ import annotations

import re
import requests


#: Seconds that an answer may take on a busy machine.
PATIENCE = 60

TOKEN = re.compile(r'name="_authenticator"\s+value="([^"]+)"')


class VisitError(Exception):
    """The site did not answer as it should; the text says what it said."""


class Visitor:
    """Gets and posts as one user. VisitError for any answer but 200."""

    def __init__(self, site_url: str) -> None:
        self.site_url = site_url
        self._session = requests.Session()
        # What is on loopback is not behind a proxy.
        self._session.trust_env = False

    @classmethod
    def with_password(cls, site_url: str, name: str, password: str) -> Visitor:
        """A program that sends its password with each request, such as cron."""
        visitor = cls(site_url)
        visitor._session.auth = (name, password)
        return visitor

    def log_in(self, name: str, password: str) -> None:
        """Log in by the form, as people do. VisitError if that is refused."""
        fields = {
            "__ac_name": name,
            "__ac_password": password,
            "buttons.login": "Log in",
        }
        self._text(self._session.post(self._url("login"), fields, timeout=PATIENCE))
        if "__ac" not in self._session.cookies:
            raise VisitError(f"{name} could not log in at {self._url('login')}.")

    def status(self, path: str) -> int:
        """The HTTP status of a page, whatever it is; redirects are not followed."""
        answer = self._session.get(
            self._url(path), timeout=PATIENCE, allow_redirects=False
        )
        return answer.status_code

    def text(self, path: str, **query: object) -> str:
        """A page."""
        answer = self._session.get(
            self._url(path), params=query, timeout=PATIENCE, allow_redirects=False
        )
        return self._text(answer)

    def json(self, path: str, **query: object):
        """What a view that answers in JSON says."""
        answer = self._session.get(
            self._url(path), params=query, timeout=PATIENCE, allow_redirects=False
        )
        self._text(answer)
        return answer.json()

    def submit(self, path: str, **fields: str):
        """Post the form of a page with its token; gives the answer's JSON."""
        found = TOKEN.search(self.text(path))
        if found is None:
            raise VisitError(f"{self._url(path)} has no form with a token.")
        answer = self._session.post(
            self._url(path),
            {**fields, "_authenticator": found[1]},
            timeout=PATIENCE,
            allow_redirects=False,
        )
        self._text(answer)
        return answer.json()

    def _url(self, path: str) -> str:
        return f"{self.site_url}/{path}"

    def _text(self, answer: requests.Response) -> str:
        if answer.status_code != 200:
            raise VisitError(
                f"{answer.request.method} {answer.url} answers {answer.status_code} "
                f"{answer.reason}: {answer.text[:300]}"
            )
        return answer.text
