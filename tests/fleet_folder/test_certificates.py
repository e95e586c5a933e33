"""The fleet's own authority: whose certificate a broker believes."""

from __future__ import annotations

import socket
import ssl
import stat
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from agent.contract.errors import KeyUnreadable
from edge.certificates import CERTIFICATE, KEY, CertificateAuthority, KeyPair

DEVICE = "b-0011223344556677"


def written(folder: Path, name: str, pair: KeyPair) -> tuple[Path, Path]:
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    certificate.write_text(pair.certificate)
    key.write_text(pair.key)
    return certificate, key


def shake_hands(folder: Path, authority: CertificateAuthority, client: KeyPair, *, name: str) -> str:
    """The common name that a server of the authority sees; raises as the client's or server's handshake does."""
    (folder / "ca.pem").write_text(authority.certificate)
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(*written(folder, "server", authority.server("edge-broker")))
    server_side.load_verify_locations(folder / "ca.pem")
    server_side.verify_mode = ssl.CERT_REQUIRED
    client_side = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    client_side.load_cert_chain(*written(folder, "client", client))
    near, far = socket.socketpair()
    seen: list[str] = []
    failed: list[Exception] = []

    def serve() -> None:
        try:
            with server_side.wrap_socket(far, server_side=True) as link:
                subject = dict(pair[0] for pair in link.getpeercert()["subject"])
                link.sendall(subject["commonName"].encode())
        except (OSError, ssl.SSLError) as error:
            failed.append(error)
            far.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client_side.wrap_socket(near, server_hostname=name) as link:
            seen.append(link.recv(100).decode())
    finally:
        near.close()
        thread.join()
    if failed:
        raise failed[0]
    return seen[0]


def test_a_client_is_seen_under_its_common_name(tmp_path: Path) -> None:
    authority = CertificateAuthority(tmp_path / "keys")
    assert shake_hands(tmp_path, authority, authority.client(DEVICE), name="edge-broker") == DEVICE


def test_another_authority_is_not_believed(tmp_path: Path) -> None:
    authority, other = CertificateAuthority(tmp_path / "keys"), CertificateAuthority(tmp_path / "other")
    with pytest.raises(ssl.SSLError):
        shake_hands(tmp_path, authority, other.client(DEVICE), name="edge-broker")


def test_a_broker_of_another_name_is_not_believed(tmp_path: Path) -> None:
    authority = CertificateAuthority(tmp_path / "keys")
    with pytest.raises(ssl.SSLError):
        shake_hands(tmp_path, authority, authority.client(DEVICE), name="someone-else")


def test_a_boards_certificate_is_made_for_a_key_that_stays_on_the_board(tmp_path: Path) -> None:
    authority = CertificateAuthority(tmp_path / "keys")
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    assert "BEGIN CERTIFICATE" in authority.certify(DEVICE, public)


@pytest.mark.parametrize(
    "text", ["", "no key", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"]
)
def test_what_is_no_key_is_not_certified(tmp_path: Path, text: str) -> None:
    with pytest.raises(KeyUnreadable):
        CertificateAuthority(tmp_path / "keys").certify(DEVICE, text)


def test_a_key_of_another_kind_is_not_certified(tmp_path: Path) -> None:
    public = ed25519.Ed25519PrivateKey.generate().public_key()
    text = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    with pytest.raises(KeyUnreadable):
        CertificateAuthority(tmp_path / "keys").certify(DEVICE, text)


def test_the_authoritys_key_is_its_owners_alone(tmp_path: Path) -> None:
    authority = CertificateAuthority(tmp_path / "keys")
    first = authority.certificate
    assert stat.S_IMODE((tmp_path / "keys" / KEY).stat().st_mode) == 0o600
    assert CertificateAuthority(tmp_path / "keys").certificate == first


def test_a_damaged_authority_is_said_and_not_replaced(tmp_path: Path) -> None:
    authority = CertificateAuthority(tmp_path / "keys")
    assert authority.certificate
    (tmp_path / "keys" / KEY).write_text("torn")
    with pytest.raises(KeyUnreadable):
        authority.client(DEVICE)
    assert (tmp_path / "keys" / KEY).read_text() == "torn"


def test_a_certificate_that_was_lost_is_made_again_by_the_same_key(tmp_path: Path) -> None:
    authority = CertificateAuthority(tmp_path / "keys")
    client = authority.client(DEVICE)
    (tmp_path / "keys" / CERTIFICATE).unlink()
    assert shake_hands(tmp_path, authority, client, name="edge-broker") == DEVICE
