"""A certificate authority for one test run.

authority = Authority.in_folder(folder)      # made at the first call, the same one afterwards
certs, key = authority.issue("one", "localhost")    # PEM files in that folder
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_HOLDS = timedelta(days=2)


@dataclass(frozen=True)
class Authority:
    """An authority that nobody else trusts; `file` is its certificate."""

    folder: Path
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def file(self) -> Path:
        """The PEM file with which its certificates are verified."""
        return self.folder / "authority.pem"

    @classmethod
    def in_folder(cls, folder: Path) -> Authority:
        """Return the authority of a folder, made now if there is none yet."""
        certificate_file, key_file = folder / "authority.pem", folder / "authority.key"
        if key_file.exists():
            key = serialization.load_pem_private_key(key_file.read_bytes(), None)
            assert isinstance(key, ec.EllipticCurvePrivateKey)
            return cls(folder, x509.load_pem_x509_certificate(certificate_file.read_bytes()), key)
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("Tests' own authority")
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        certificate = (
            _builder(name, name, key, datetime.now(UTC))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(identifier, critical=False)
            .sign(key, hashes.SHA256())
        )
        certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key_file.write_bytes(_pem(key))
        return cls(folder, certificate, key)

    def issue(
        self, name: str, *hosts: str, ended: timedelta = timedelta(), self_signed: bool = False
    ) -> tuple[Path, Path]:
        """Return the files of a certificate for host names or IP addresses and of its key, made anew; `name` is for the files.

        It holds from two days ago until two days from now, or was made so much earlier that it has `ended` so long ago.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(hosts[0])
        signer, by = (key, subject) if self_signed else (self.key, self.certificate.subject)
        earlier = ended + _HOLDS if ended else ended
        certificate = (
            _builder(subject, by, key, datetime.now(UTC) - earlier)
            .add_extension(x509.SubjectAlternativeName([_general(host) for host in hosts]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
            .sign(signer, hashes.SHA256())
        )
        certs, private = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        certs.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        private.write_bytes(_pem(key))
        return certs, private


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _HOLDS)
        .not_valid_after(now + _HOLDS)
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
