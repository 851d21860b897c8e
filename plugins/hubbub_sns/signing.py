"""Signatures of notifications, and the certificate that proves them.

"Verifying the signatures of Amazon SNS messages" of the developer guide says what is signed: names
and values of some fields, each on a line of its own, by RSA (PKCS #1 v1.5) with SHA-1 or SHA-256.

`cryptography` is imported when there is something to sign: it takes 9 MB and a tenth of a second.
"""

import base64
import datetime as dt
import hashlib
import secrets
from collections.abc import Callable, Mapping
from typing import Self

import trio

from hubbub import Session

Sign = Callable[[bytes, str], bytes]
"""Signs bytes as a signature version does."""

_KEPT = "sns.key"
_PEM = "signing"
_PATH = "path"
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
    """Signs with the one key of a hub, which is made when it is first needed and kept.

    The path of the certificate stands from the beginning, so that the endpoint knows what to serve
    there. `prepare` gets the key ready, the rest uses it.
    """

    def __init__(self, session: Session, path: str, pem: bytes | None, bits: int) -> None:
        self.path = path
        """Where the certificate is served."""
        self._session = session
        self._pem = pem
        self._bits = bits
        self._sign: Sign | None = None
        self._lock = trio.Lock()

    @classmethod
    async def load(cls, session: Session, bits: int) -> Self:
        """Take back the key that `session` kept; one that is made later has this many bits."""
        kept = {document.key: document.value async for document in session.documents(_KEPT)}
        pem = kept.get(_PEM)
        if _PATH in kept:
            path = kept[_PATH].decode("ascii")
        elif pem is not None:
            # The key was made when the path was the digest of the certificate.
            path = _path(hashlib.sha256(_certificate(pem)).hexdigest()[:32])
        else:
            path = _path(secrets.token_hex(16))
            session.put_document(_KEPT, _PATH, path.encode("ascii"))
        return cls(session, path, pem, bits)

    async def prepare(self) -> None:
        """Be ready to sign: make the key if there is none, and wait until it is kept.

        Raises:
            UnavailableError: the store takes nothing durable now.
        """
        async with self._lock:  # two keys would be one too many
            pem = self._pem
            if pem is None:
                pem = await trio.to_thread.run_sync(_generate, self._bits)
                await self._session.put_document(_KEPT, _PEM, pem).wait()
                self._pem = pem
            if self._sign is None:
                self._sign = await trio.to_thread.run_sync(_signing_with, pem)

    async def certificate(self) -> bytes:
        """Return the certificate, in PEM. Raises `UnavailableError` as `prepare` does."""
        if self._pem is None:
            await self.prepare()
        assert self._pem is not None
        return _certificate(self._pem)

    def sign(self, fields: Mapping[str, str], version: str) -> str:
        """Return the signature of a notification, in base64.

        Raises:
            RuntimeError: there is no key. Nobody subscribes before `prepare` has made it.
        """
        if self._sign is None:
            if self._pem is None:
                raise RuntimeError("there is no key to sign with")
            self._sign = _signing_with(self._pem)
        return base64.b64encode(self._sign(canonical(fields), version)).decode("ascii")


def _path(name: str) -> str:
    return f"/SimpleNotificationService-{name}.pem"


def _certificate(pem: bytes) -> bytes:
    return pem[pem.index(b"-----BEGIN CERTIFICATE-----") :]


def _generate(bits: int) -> bytes:
    """Make a key and its certificate, both in PEM, which takes a while."""
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
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ) + certificate.public_bytes(serialization.Encoding.PEM)


def _signing_with(pem: bytes) -> Sign:
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
