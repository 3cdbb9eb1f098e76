"""A mail server on this machine that keeps what it is given."""

from __future__ import annotations

from email import message_from_bytes
from email.header import decode_header
from email.header import make_header
from email.message import Message

import socketserver
import threading


class _Dialogue(socketserver.StreamRequestHandler):
    """One SMTP connection, with as much of the protocol as a client needs."""

    def handle(self) -> None:
        self.answer("220 postbox")
        while line := self.rfile.readline().decode().strip():
            command = line.upper()
            if command == "DATA":
                self.answer("354 go on")
                self.server.letters.append(self.read_letter())
                self.answer("250 kept")
            elif command == "QUIT":
                self.answer("221 bye")
                return
            else:
                self.answer("250 postbox")

    def answer(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())

    def read_letter(self) -> Message:
        lines = []
        while (line := self.rfile.readline()) != b".\r\n":
            lines.append(line)
        return message_from_bytes(b"".join(lines))


class Postbox(socketserver.ThreadingTCPServer):
    """Listens from the beginning of its ``with`` block to its end."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Dialogue)
        self.letters: list[Message] = []

    @property
    def port(self) -> int:
        return self.server_address[1]

    @property
    def subjects(self) -> list[str]:
        """Of the letters, in the order in which they came."""
        return [
            str(make_header(decode_header(letter["Subject"])))
            for letter in self.letters
        ]

    def __enter__(self) -> Postbox:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.shutdown()
        self.server_close()
