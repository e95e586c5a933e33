"""A certificate for the board's own key, given to OpenSSL without a file of it."""

from __future__ import annotations

import os
import ssl
from pathlib import Path


def load_own_certificate(context: ssl.SSLContext, certificate: str, key: Path) -> None:
    """Have `context` show this PEM certificate, whose key is the file `key`.

    Raises:
        OSError: the key is not there, or does not belong to the certificate.
    """
    # OpenSSL reads a certificate from a file alone: one that is memory, and nobody else's.
    descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, certificate.encode())
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", key)
    finally:
        os.close(descriptor)
