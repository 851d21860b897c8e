"""What clients do over AMQP has the same answers from RabbitMQ and from us."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from difflib import unified_diff
from functools import partial
from typing import Any

from .amqp import Address, ClosedError, Talk
from .amqp_scenarios import SCENARIOS
from .conftest import Addresses

DIFFERS = {
    "tune_frame_small": "we say why",
    "tune_frame_large": "we say why",
    "tune_frame_unlimited": "we say why",
    "tune_channels_many": "we say why",
    "tune_channels_unlimited": "we say why",
    "unknown_mechanism": "we say why",
    "malformed_plain": "we say why",
    "method_before_open": "we say why",
    "raw_unknown_class": "we say why",
    "raw_unknown_method": "we say why",
    "raw_bad_properties": "we say why, RabbitMQ has an internal error",
    "raw_short_method": "502, as the specification has it for arguments that can't be read",
    "raw_empty_method": "502, as the specification has it for arguments that can't be read",
    "raw_basic_qos_trailing": "bytes behind the arguments do no harm",
    "raw_body_too_long": "501; RabbitMQ waits for ever",
    "header_amqp_8": "there is no 0-8 here, whose clients are gone",
}
"""Where we differ from RabbitMQ 3.10, and why."""

AT_ONCE = 16

Heard = tuple[list[object], list[object], dict[int, str]]


def play(name: str, address: Address) -> Heard:
    """Play a scenario to a server; return what it answered."""
    with ExitStack() as stack:

        def connect(**options: Any) -> Talk:
            return stack.enter_context(Talk(address, **options))

        talk = connect()
        try:
            SCENARIOS[name](talk, connect, f"{name}@{secrets.token_hex(3)}")
        except ClosedError:
            pass
        except Exception as error:
            error.add_note(f"in the scenario {name}")
            raise
        return talk.answers, talk.deliveries, talk.confirms


def differences(theirs: Heard, ours: Heard) -> list[str]:
    """Return what differs, in words."""
    lines = []
    for their, our in zip(theirs[:2], ours[:2], strict=True):
        if their != our:
            lines += list(unified_diff(_lines(their), _lines(our), "RabbitMQ", "hubbub", "", "", 0))
    if theirs[2] != ours[2]:
        lines += [f"-{theirs[2]}", f"+{ours[2]}"]
    return lines


def _lines(heard: list[object]) -> list[str]:
    return [repr(each) for each in heard]


def test_every_scenario_ends_alike(rabbitmq: Addresses, hub: Addresses) -> None:
    with ThreadPoolExecutor(AT_ONCE) as threads:
        playing = [
            threads.map(partial(play, address=server["amqp"]), SCENARIOS)
            for server in (rabbitmq, hub)
        ]
        theirs, ours = (list(each) for each in playing)
    found = {
        name: lines
        for name, their, our in zip(SCENARIOS, theirs, ours, strict=True)
        if (lines := differences(their, our))
    }
    for name in [name for name in found if name not in DIFFERS]:
        # What is in one order between queues or channels may be in another when all are busy.
        again = differences(play(name, rabbitmq["amqp"]), play(name, hub["amqp"]))
        if not again:
            del found[name]
    unexpected = ["\n".join([name, *lines]) for name, lines in found.items() if name not in DIFFERS]
    assert not unexpected, "\n" + "\n".join(unexpected)
    assert sorted(found) == sorted(DIFFERS), "what does not differ any more?"
