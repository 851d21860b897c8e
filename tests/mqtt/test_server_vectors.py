"""Every malformed packet, sent to a server: the reason code and the end that the text names."""

from __future__ import annotations

import pytest

from hubbub_mqtt import packets as p
from hubbub_mqtt.packets import Version

from .conftest import Connect
from .raw import Raw
from .vectors import BAD, Bad

V5 = Version.V5

_CONNECTS = [each for each in BAD if each.data[0] >> 4 == 1]
_OTHERS = [each for each in BAD if each.data[0] >> 4 != 1]


def names(vectors: list[Bad]) -> list[str]:
    return [f"{each.name} v{int(each.version)}" for each in vectors]


@pytest.mark.parametrize("vector", _OTHERS, ids=names(_OTHERS))
def test_a_malformed_packet_ends_the_connection(client: Connect, vector: Bad) -> None:
    raw: Raw = client(vector.version)
    assert raw.connect(f"bad-{vector.version}").reason == 0
    raw.send(vector.data)
    answers = raw.closed()
    if vector.version is V5:
        (answer,) = answers
        assert isinstance(answer, p.Disconnect)
        assert answer.reason in _allowed(vector)
        assert answer.properties.reason_string
    else:
        assert answers == []


def _allowed(vector: Bad) -> set[int]:
    # A packet of a type that only servers send is a protocol error, whatever is wrong inside.
    kind = vector.data[0] >> 4
    return {vector.reason, 0x82} if kind in {2, 9, 11, 13} else {vector.reason}


@pytest.mark.parametrize("vector", _CONNECTS, ids=names(_CONNECTS))
def test_a_malformed_connect_is_refused(client: Connect, vector: Bad) -> None:
    raw: Raw = client(vector.version)
    raw.send(vector.data)
    answers = raw.closed()
    if vector.statement == "[MQTT-3.1.2-1]":  # not MQTT at all
        assert answers == []
    elif vector.version is V5:
        (answer,) = answers
        assert isinstance(answer, p.Connack)
        assert answer.reason == vector.reason
    else:  # of all these, only two reasons have a return code before 5.0
        codes = [each.reason for each in answers if isinstance(each, p.Connack)]
        assert codes == {0x84: [1], 0x85: [2]}.get(vector.reason, [])
        assert len(answers) == len(codes)
