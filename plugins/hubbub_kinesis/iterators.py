"""Shard iterators: opaque text that tells where to read, and when it was made."""

import struct
import zlib
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from typing import NamedTuple

from hubbub import Position

LIFETIME = 300_000
"""Milliseconds that an iterator, or a token for a next page, can be used."""

_VERSION = 1
_FIELDS = struct.Struct(">QQQIQ?12s")
_CHECK = struct.Struct(">I")
_SHORTEST, _BLOCK = 152, 16
"""Bytes of AWS's iterators, and in what steps they are longer for longer names of streams."""


class ShardIterator(NamedTuple):
    """A place in a shard. `created` is in milliseconds since the epoch."""

    created: int
    stream: int
    account: str
    name: str
    position: Position

    def encode(self) -> str:
        """Return it as clients carry it: as long as AWS's, at most 376 characters."""
        position = self.position
        content = _FIELDS.pack(
            _VERSION,
            self.created,
            self.stream,
            position.shard,
            position.sequence,
            position.inclusive,
            self.account.encode("ascii"),
        )
        content += self.name.encode("ascii")
        length = _SHORTEST + (len(self.name) + 2) // _BLOCK * _BLOCK
        content = content.ljust(length - _CHECK.size, b"\0")
        return b64encode(content + _CHECK.pack(zlib.crc32(content))).decode("ascii")

    @classmethod
    def decode(cls, text: str) -> "ShardIterator":
        """Read an iterator. Raises `ValueError`.

        As in AWS, it may stand in quotes: so scripts get it out of the command line's JSON.
        """
        if text[:1] == text[-1:] == '"':
            text = text[1:-1]
        try:
            raw = b64decode(text.encode("ascii"), validate=True)
            content = raw[:-4]
            (check,) = _CHECK.unpack(raw[-4:])
            version, created, stream, shard, sequence, inclusive, account = _FIELDS.unpack_from(
                content
            )
            if version != _VERSION or check != zlib.crc32(content):
                raise ValueError("not an iterator of this server")
            name = content[_FIELDS.size :].rstrip(b"\0").decode("ascii")
            position = Position(shard, sequence, inclusive)
            return cls(created, stream, account.decode("ascii"), name, position)
        except (Base64Error, struct.error) as error:
            raise ValueError("not an iterator") from error
