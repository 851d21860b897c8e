"""Messages for subscribers, encoded together."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from hubbub import Message
from hubbub_mqtt.decode import Decoder
from hubbub_mqtt.delivery import Alias, Recent, Styles, encode_messages
from hubbub_mqtt.encode import encode
from hubbub_mqtt.mapping import message_of
from hubbub_mqtt.packets import Packet, Publish, Version
from hubbub_mqtt.properties import NO_PROPERTIES

from .raw import properties

PACKETS = (
    Publish("a/b", b"one"),
    Publish("a/b", b"two", retain=True),
    Publish("a/b", b"x" * 200),
    Publish("a/b", b"y" * 200, properties=properties(content_type="t")),
    Publish("a/b", b""),
)


def messages() -> list[Message]:
    made = [message_of(packet, 0) for packet in PACKETS]
    for number, message in enumerate(made, 1):
        message.id = number
    return made


def expected(
    version: Version,
    qos: int,
    retains: Sequence[bool],
    *,
    identifiers: tuple[int, ...] = (),
    alias: int | None = None,
    known: bool = False,
) -> list[Packet]:
    """The packets that a client of this version gets."""
    made: list[Packet] = []
    for number, (packet, retain) in enumerate(zip(PACKETS, retains, strict=True), 1):
        fields = NO_PROPERTIES
        content_type = packet.properties.content_type
        if version is Version.V5 and (identifiers or alias or content_type):
            fields = properties(
                subscription_identifiers=identifiers, topic_alias=alias, content_type=content_type
            )
        topic = "" if known or (alias and number > 1) else packet.topic
        packet_id = number if qos else 0
        made.append(Publish(topic, packet.payload, qos, retain, False, packet_id, fields))
    return made


def largest(packets: list[Packet], version: Version) -> int:
    return max(len(encode(packet, version)) for packet in packets)


@pytest.mark.parametrize("version", Version)
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("identifiers", [(), (3, 200)])
def test_messages_encoded_together(
    version: Version, qos: int, identifiers: tuple[int, ...]
) -> None:
    for keeps, retained, retains in (
        (False, False, [False] * 5),
        (True, False, [packet.retain for packet in PACKETS]),
        (False, True, [True] * 5),
    ):
        style = Styles().get(version, keeps, identifiers)
        encoded = encode_messages(
            "a/b", messages(), style, 0, lambda field: None, qos=qos, retained=retained
        )
        data = encoded.numbered([1, 2, 3, 4, 5]) if qos else encoded.data
        wanted = expected(version, qos, retains, identifiers=identifiers)
        assert Decoder(version=version).decode(data) == wanted
        assert encoded.count == 5
        assert encoded.largest == largest(wanted, version)


@pytest.mark.parametrize("known", [False, True])
def test_an_alias_stands_for_the_topic_once_it_is_known(known: bool) -> None:
    style = Styles().get(Version.V5, False, ())
    encoded = encode_messages("a/b", messages(), style, 0, print, qos=1, alias=Alias(7, known))
    wanted = expected(Version.V5, 1, [False] * 5, alias=7, known=known)
    assert Decoder(version=Version.V5).decode(encoded.numbered([1, 2, 3, 4, 5])) == wanted
    assert encoded.largest == largest(wanted, Version.V5)


def test_numbered_again_for_the_next_subscriber() -> None:
    recent, style = Recent(), Styles().get(Version.V311, False, ())

    def encode_some(some: list[Message], qos: int = 1) -> object:
        return recent.encode("a/b", some, style, 0, print, qos=qos, retained=False)

    first = recent.encode("a/b", messages()[:2], style, 0, print, qos=1, retained=False)
    assert first.numbered([1, 2]) == b"\x32\x0a\0\x03a/b\0\x01one\x32\x0a\0\x03a/b\0\x02two"
    assert first.numbered([8, 9]) == b"\x32\x0a\0\x03a/b\0\x08one\x32\x0a\0\x03a/b\0\x09two"
    assert encode_some(messages()[:2]) is first
    assert encode_some(messages()[:2], qos=2) is not first
    assert encode_some(messages()[:1]) is not first
    # What changes in a moment, or is large, is encoded each time.
    for changing in ({"expires_at": 10}, {"body": bytes(300_000)}):
        some = [Message(address="a/b", **{"body": b"", **changing})]  # type: ignore[arg-type]
        assert encode_some(some) is not encode_some(some)
