"""Where dead letters go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub import AddressError, Message, check_dead_letter, queue_address
from hubbub.dead_letters import grave_of


def sent(address: str, scope: str | None = None) -> Message:
    return Message(address=address, body=b"", scope=scope)


@pytest.mark.parametrize(
    ("dead_letter", "message", "grave"),
    [
        ("$queue/dead", sent("a/b"), "$queue/dead"),
        ("dead/of", sent("a/b"), "dead/of"),
        ("dead/#", sent("a/b"), "dead/a/b"),
        ("dead/#", sent("$queue/orders"), "dead/orders"),
        ("dead/#", sent("$queue/v1.orders"), "dead/v1/orders"),
        ("dead/#", sent("$stream/log/key"), "dead/log"),
        ("dead/#", sent("logs/a/b", "logs"), "dead/a/b"),
        ("dead/#", sent("logs/a/b"), "dead/logs/a/b"),
        ("dead/#", sent("a/b", "amq.topic"), "dead/a/b"),
        ("dead/#", sent("x%2Fy/a", "x/y"), "dead/a"),
        ("#", sent("logs/a/b", "logs"), "a/b"),
        ("#", sent("$queue/$orders"), "%24orders"),
        ("$queue/#", sent("$queue/orders"), "$queue/orders"),
        ("$queue/#", sent("logs/a/b", "logs"), "$queue/a.b"),
    ],
)
def test_graves(dead_letter: str, message: Message, grave: str) -> None:
    assert grave_of(check_dead_letter(dead_letter), message) == grave


@given(st.sampled_from(["dead/#", "#", "$queue/#"]), st.text(), st.none() | st.text())
def test_every_message_has_a_grave(dead_letter: str, address: str, scope: str | None) -> None:
    assert isinstance(grave_of(dead_letter, sent(address, scope)), str)


@given(st.text(min_size=1).filter(lambda name: "\0" not in name and name.isprintable()))
def test_a_queue_s_own_name_is_its_key(name: str) -> None:
    address = str(queue_address(name))
    assert grave_of("$queue/#", sent(address)) == address


@pytest.mark.parametrize("text", ["", "a/#/b", "a#", "a/+", "$queue", "$stream/#", "$queue/"])
def test_what_is_no_dead_letter_address(text: str) -> None:
    with pytest.raises(AddressError):
        check_dead_letter(text)
