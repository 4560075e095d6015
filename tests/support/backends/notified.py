"""Who is notified in the tests: a webhook for chat and tickets, and a mail server."""

from __future__ import annotations

import base64
import email
import email.policy
import json
import socketserver
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from support.certificates import Certificates


@dataclass(frozen=True, slots=True)
class Call:
    """One request to the webhook; ``time`` is the unix time of its arrival."""

    time: float
    path: str
    headers: Mapping[str, str]
    body: Any


@dataclass(frozen=True, slots=True)
class Mail:
    """One delivered mail and how its sender logged in."""

    time: float
    user: str
    password: str
    encrypted: bool
    message: EmailMessage

    def part(self, kind: str) -> str:
        """Its text as ``plain`` or ``html``."""
        body = self.message.get_body((kind,))
        assert body is not None, self.message
        return str(body.get_content()).replace("\r\n", "\n")


class Webhook(ThreadingHTTPServer):
    """Takes JSON on any path and answers as Slack does."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _WebhookHandler)
        self.calls: list[Call] = []
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def url(self, path: str) -> str:
        """The address of a path, which starts with a slash."""
        return f"http://127.0.0.1:{self.server_address[1]}{path}"

    def on(self, path: str) -> list[Call]:
        """What came to a path, in order."""
        return [call for call in self.calls if call.path == path]

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _WebhookHandler(BaseHTTPRequestHandler):
    server: Webhook
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        now = time.time()
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.calls.append(Call(now, self.path, dict(self.headers), body))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


class MailServer(socketserver.ThreadingTCPServer):
    """A submission server: takes mail only after STARTTLS and a login, as real ones do."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, certificates: Certificates) -> None:
        super().__init__(("127.0.0.1", 0), _Submission)
        self.mails: list[Mail] = []
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(certificates.certificate, certificates.key)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def address(self) -> str:
        """Its ``host:port``."""
        return f"127.0.0.1:{self.server_address[1]}"

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


@dataclass(slots=True)
class _Session:
    encrypted: bool = False
    user: str = ""
    password: str = ""


class _Submission(socketserver.StreamRequestHandler):
    """RFC 5321 with STARTTLS (RFC 3207) and AUTH PLAIN (RFC 4616), as little as a client needs."""

    server: MailServer

    def handle(self) -> None:
        session = _Session()
        self._say("220 mail.example.org")
        while line := self.rfile.readline():
            words = line.decode().split()
            if not self._answer(session, words[0].upper() if words else "", words):
                return

    def _answer(self, session: _Session, verb: str, words: list[str]) -> bool:
        """Answer one command; false when the conversation is over."""
        if verb == "EHLO":
            offer = ["AUTH PLAIN"] if session.encrypted else ["STARTTLS"]
            self._say("250-mail.example.org", f"250 {offer[0]}")
        elif verb == "STARTTLS":
            self._say("220 go ahead")
            self._encrypt()
            session.encrypted = True
        elif verb == "AUTH":
            _, session.user, session.password = base64.b64decode(words[2]).decode().split("\0")
            self._say("235 welcome")
        elif verb in {"MAIL", "RCPT"}:
            self._say("250 fine" if session.user else "530 log in first")
        elif verb == "DATA":
            self._say("354 go on")
            self._deliver(session)
            self._say("250 taken")
        else:
            self._say("221 bye" if verb == "QUIT" else "250 fine")
        return verb != "QUIT"

    def _encrypt(self) -> None:
        self.connection = self.server.tls.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb", buffering=0)

    def _deliver(self, session: _Session) -> None:
        lines: list[bytes] = []
        while (line := self.rfile.readline()) != b".\r\n":
            lines.append(line[1:] if line.startswith(b"..") else line)
        message = email.message_from_bytes(b"".join(lines), policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        mail = Mail(time.time(), session.user, session.password, session.encrypted, message)
        self.server.mails.append(mail)

    def _say(self, *lines: str) -> None:
        self.wfile.write("".join(f"{line}\r\n" for line in lines).encode())
