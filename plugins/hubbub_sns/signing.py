"""Signatures of notifications, and the certificate that proves them.

"Verifying the signatures of Amazon SNS messages" of the developer guide says what is signed: names
and values of some fields, each on a line of its own, by RSA (PKCS #1 v1.5) with SHA-1 or SHA-256.

`cryptography` is imported when there is something to sign: it takes 9 MB and a tenth of a second.
"""

import base64
import datetime as dt
import hashlib
from collections.abc import Callable, Mapping
from typing import Self

_FIELDS = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": (
        "Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type",
    ),
    "UnsubscribeConfirmation": (
        "Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type",
    ),
}  # fmt: skip
_VALIDITY = dt.timedelta(days=3650)
_DAY = dt.timedelta(days=1)


def canonical(fields: Mapping[str, str]) -> bytes:
    """Return the bytes that are signed of a notification or confirmation."""
    return "".join(
        f"{name}\n{fields[name]}\n" for name in _FIELDS[fields["Type"]] if name in fields
    ).encode()


class Signer:
    """A private key and its certificate, both in PEM."""

    def __init__(self, key: bytes, certificate: bytes) -> None:
        self._key = key
        self._sign: Callable[[bytes, str], bytes] | None = None
        self.pem = key + certificate
        self.certificate = certificate

    @classmethod
    def load(cls, pem: bytes) -> Self:
        """Make one of what `pem` was."""
        begin = pem.index(b"-----BEGIN CERTIFICATE-----")
        return cls(pem[:begin], pem[begin:])

    @classmethod
    def generate(cls, bits: int) -> Self:
        """Make a new key, which takes a while: call it in a thread."""
        from cryptography import x509  # noqa: PLC0415
        from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415
        from cryptography.x509.oid import NameOID  # noqa: PLC0415

        key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
        now = dt.datetime.now(dt.UTC)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _DAY)
            .not_valid_after(now + _VALIDITY)
            .sign(key, hashes.SHA256())
        )
        return cls(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
            certificate.public_bytes(serialization.Encoding.PEM),
        )

    @property
    def path(self) -> str:
        """Where the certificate is served."""
        digest = hashlib.sha256(self.certificate).hexdigest()
        return f"/SimpleNotificationService-{digest[:32]}.pem"

    def sign(self, fields: Mapping[str, str], version: str) -> str:
        """Return the signature of a notification, in base64."""
        if self._sign is None:
            self._sign = _signing_with(self._key)
        return base64.b64encode(self._sign(canonical(fields), version)).decode("ascii")


def _signing_with(pem: bytes) -> Callable[[bytes, str], bytes]:
    """Return the function that signs with a private key, as a signature version does."""
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import padding, rsa  # noqa: PLC0415

    key = serialization.load_pem_private_key(pem, None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise TypeError("the key is no RSA key")

    def sign(data: bytes, version: str) -> bytes:
        algorithm = hashes.SHA256() if version == "2" else hashes.SHA1()  # noqa: S303 - version 1 is so
        return key.sign(data, padding.PKCS1v15(), algorithm)

    return sign
