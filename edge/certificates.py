"""The fleet's own certificate authority: who is the broker, who is the collector, which board is which.

The rule: a certificate's common name is all that a broker's access list goes by: a device's id, the collector's id, or
the broker's name. Keys of boards are made on the boards and never seen here. Certificates are valid from 2000 to 2099,
since boards without a clock must be able to connect; who is no longer of the fleet is refused by the collector, which
takes messages of devices in the inventory alone.
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agent.contract.errors import KeyUnreadable
from edge import durable

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
    from cryptography.hazmat.primitives.serialization import Encoding

KEY = "mqtt-ca.key"
CERTIFICATE = "mqtt-ca.pem"
LOOPBACK = ("127.0.0.1", "::1")
NOT_BEFORE = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
NOT_AFTER = datetime.datetime(2099, 12, 31, tzinfo=datetime.UTC)


@dataclass(frozen=True)
class KeyPair:
    """A certificate and its private key, both PEM."""

    certificate: str
    key: str


class CertificateAuthority:
    """The authority in the folder `keys/`, made when first asked for: `mqtt-ca.key` (0600), `mqtt-ca.pem`."""

    def __init__(self, keys: Path) -> None:
        self._path = keys

    @property
    def certificate(self) -> str:
        """Its own certificate, PEM."""
        return self._open()[1].public_bytes(_pem()).decode()

    def certify(self, name: str, public_key: str) -> str:
        """A client certificate with the common name `name` for a key that another one holds.

        Args:
            name: a device's id.
            public_key: PEM, SubjectPublicKeyInfo.

        Raises:
            KeyUnreadable: `public_key` is no key that can be certified.
        """
        return self._signed(name, _held_key(name, public_key)).public_bytes(_pem()).decode()

    def certify_server(self, name: str, public_key: str, reached_as: Sequence[str]) -> str:
        """A server certificate for a key that another one holds; as `certify`.

        Args:
            name: a device's id.
            public_key: PEM, SubjectPublicKeyInfo.
            reached_as: the host names and addresses that clients use; the broker's name must not be among them.
        """
        key = _held_key(name, public_key)
        return self._signed(name, key, names=(name, *reached_as)).public_bytes(_pem()).decode()

    def certified(self, certificate: str, name: str, public_key: str) -> bool:
        """Whether `certificate` is one of this authority for `name` and that key."""
        from cryptography import x509
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.serialization import PublicFormat

        authority = self._open()[1]
        try:
            found = x509.load_pem_x509_certificate(certificate.encode())
            found.verify_directly_issued_by(authority)
            key = found.public_key().public_bytes(_pem(), PublicFormat.SubjectPublicKeyInfo).decode()
        except (ValueError, TypeError, InvalidSignature):
            return False
        names = found.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        return [each.value for each in names] == [name] and key.strip() == public_key.strip()

    def names_of(self, certificate: str, name: str, public_key: str) -> tuple[str, ...]:
        """What a server is known as by a certificate of this authority for it and that key; nothing by another."""
        from cryptography import x509

        if not self.certified(certificate, name, public_key):
            return ()
        try:
            found = x509.load_pem_x509_certificate(certificate.encode()).extensions
            names = found.get_extension_for_class(x509.SubjectAlternativeName).value
        except (ValueError, x509.ExtensionNotFound):
            return ()
        return tuple(str(each.value) for each in names)

    def client(self, name: str) -> KeyPair:
        """A new key with a client certificate for `name`."""
        return self._pair(name)

    def server(self, name: str) -> KeyPair:
        """A new key with a server certificate for `name`, good for `localhost` and loopback addresses too."""
        return self._pair(name, names=(name, "localhost", *LOOPBACK))

    def _pair(self, name: str, *, names: Sequence[str] = ()) -> KeyPair:
        key = _new_key()
        certificate = self._signed(name, key.public_key(), names=names)
        return KeyPair(certificate.public_bytes(_pem()).decode(), _text(key))

    def _signed(
        self, name: str, key: CertificatePublicKeyTypes, *, names: Sequence[str] = ()
    ) -> x509.Certificate:
        """A certificate: a server's with the names that clients may know it by, a client's without."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.x509.oid import ExtendedKeyUsageOID

        own, authority = self._open()
        usage = ExtendedKeyUsageOID.SERVER_AUTH if names else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = (
            _unsigned(name, key)
            .issuer_name(authority.subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(own.public_key()), critical=False
            )
        )
        if names:
            known_as = [_alternative(each) for each in dict.fromkeys(names)]
            builder = builder.add_extension(x509.SubjectAlternativeName(known_as), critical=False)
        return builder.sign(own, hashes.SHA256())

    def _open(self) -> tuple[EllipticCurvePrivateKey, x509.Certificate]:
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        path = self._path / KEY
        if not path.exists() or not path.with_name(CERTIFICATE).exists():
            self._create()
        try:
            key = load_pem_private_key(path.read_bytes(), None)
            certificate = x509.load_pem_x509_certificate(path.with_name(CERTIFICATE).read_bytes())
        except (OSError, ValueError, TypeError) as error:
            raise KeyUnreadable(path=path, reason=str(error)) from error
        if not isinstance(key, EllipticCurvePrivateKey) or certificate.public_key() != key.public_key():
            raise KeyUnreadable(path=path, reason=f"it is not the key of `{CERTIFICATE}`")
        return key, certificate

    def _create(self) -> None:
        """Of two commands that make it at once, one wins: the key decides, the certificate follows from it."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        durable.make_folder(self._path, mode=0o700)
        path = self._path / KEY
        if not path.exists():
            with contextlib.suppress(FileExistsError):  # the other one's key is as good
                durable.write_new(path, _text(_new_key()).encode(), mode=0o600)
        key = load_pem_private_key(path.read_bytes(), None)
        assert isinstance(key, EllipticCurvePrivateKey)
        name = "edge fleet MQTT authority"
        certificate = (
            _unsigned(name, key.public_key())
            .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.KeyUsage(
                    digital_signature=True, content_commitment=False, key_encipherment=False,
                    data_encipherment=False, key_agreement=False, key_cert_sign=True, crl_sign=True,
                    encipher_only=False, decipher_only=False,
                ),
                critical=True,
            )
            .sign(key, hashes.SHA256())
        )  # fmt: skip
        durable.write(path.with_name(CERTIFICATE), certificate.public_bytes(_pem()))


def _unsigned(name: str, key: CertificatePublicKeyTypes) -> x509.CertificateBuilder:
    from cryptography import x509

    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOT_BEFORE)
        .not_valid_after(NOT_AFTER)
    )


def _alternative(name: str) -> x509.GeneralName:
    """A server's name as clients compare it: an address is none."""
    import ipaddress

    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _held_key(name: str, public_key: str) -> EllipticCurvePublicKey:
    """The key of a board, as it gave its public half."""
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(public_key.encode())
    except ValueError as error:
        raise KeyUnreadable(path=f"mqtt.pub of {name}", reason=str(error)) from error
    if not isinstance(key, EllipticCurvePublicKey):
        raise KeyUnreadable(path=f"mqtt.pub of {name}", reason="it is no elliptic-curve key")
    return key


def _new_key() -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _text(key: EllipticCurvePrivateKey) -> str:
    from cryptography.hazmat.primitives import serialization as form

    return key.private_bytes(_pem(), form.PrivateFormat.PKCS8, form.NoEncryption()).decode()


def _pem() -> Encoding:
    from cryptography.hazmat.primitives.serialization import Encoding

    return Encoding.PEM
