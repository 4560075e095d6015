"""An authority of our own and a server's certificate for 127.0.0.1, made by openssl."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Certificates:
    """The files which a server needs; ``authority`` is what a client is given."""

    authority: Path
    certificate: Path
    key: Path

    @classmethod
    def make(cls, folder: Path) -> Certificates | None:
        """New ones; None without openssl."""
        openssl = shutil.which("openssl")
        if openssl is None:
            return None
        made = cls(folder / "authority.pem", folder / "server.pem", folder / "server.key")
        signer = folder / "authority.key"
        new = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        _run(new, "-subj", "/CN=authority of a test", "-keyout", str(signer), "-out", str(made.authority))
        server = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
        signed = ["-CA", str(made.authority), "-CAkey", str(signer), "-addext", "basicConstraints=CA:FALSE"]
        _run(new, *server, *signed, "-keyout", str(made.key), "-out", str(made.certificate))
        return made


def _run(command: list[str], *more: str) -> None:
    subprocess.run([*command, *more], check=True, stdin=subprocess.DEVNULL, capture_output=True)
