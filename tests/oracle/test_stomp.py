"""What clients do over STOMP has the same answers from RabbitMQ and from us."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from difflib import unified_diff
from functools import partial
from typing import Any

from .conftest import Addresses
from .stomp import Address, Chat
from .stomp_scenarios import SCENARIOS

DIFFERS = {
    "send_temp_queue": "we say what to do",
    "subscribe_temp_queue": "we say what to do",
    "send_amq_queue_missing": "we say that the message was lost",
    "subscribe_amq_queue_missing": "no RECEIPT for a frame that failed",
    "subscribe_exchange_missing": "no RECEIPT for a frame that failed",
    "exclusive_use": "one consumer is exclusive here, not the queue",
    "queue_arguments": "what creates a queue is no part of the message",
    "dead_letters": "what creates a queue is no part of the message; x-death can be read",
    "bad_numbers": "we say what must be a number",
    "after_an_error_nothing_is_done": "as the specification has it",
    "undefined_escape": "we say why",
    "header_without_colon": "we say why",
    "second_connect": "we say why",
}
"""Where we differ from RabbitMQ 3.10, and why."""

AT_ONCE = 16


def play(name: str, address: Address) -> list[str]:
    """Play a scenario to a server; return what it answered."""
    with ExitStack() as stack:

        def connect(**options: Any) -> Chat:
            return stack.enter_context(Chat(address, **options))

        chat = connect()
        try:
            SCENARIOS[name](chat, connect, f"{name}@{secrets.token_hex(3)}")
        except Exception as error:
            error.add_note(f"in the scenario {name}")
            raise
        return [repr(each) for each in chat.heard]


def test_every_scenario_ends_alike(rabbitmq: Addresses, hub: Addresses) -> None:
    with ThreadPoolExecutor(AT_ONCE) as threads:
        playing = [
            threads.map(partial(play, address=server["stomp"]), SCENARIOS)
            for server in (rabbitmq, hub)
        ]
        theirs, ours = (list(each) for each in playing)
    found = {
        name: list(unified_diff(their, our, "RabbitMQ", "hubbub", "", "", 0, ""))
        for name, their, our in zip(SCENARIOS, theirs, ours, strict=True)
        if their != our
    }
    for name in [name for name in found if name not in DIFFERS]:
        # What comes in one order from two subscriptions may come in another when all are busy.
        if play(name, rabbitmq["stomp"]) == play(name, hub["stomp"]):
            del found[name]
    unexpected = ["\n".join([name, *lines]) for name, lines in found.items() if name not in DIFFERS]
    assert not unexpected, "\n" + "\n".join(unexpected)
    assert sorted(found) == sorted(DIFFERS), "what does not differ any more?"
