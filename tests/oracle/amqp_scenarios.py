"""What clients do to a broker, good and bad: each is played to RabbitMQ and to us.

A scenario gets a connection with channel 1 open, and a function for more of them. It may end with
`ClosedError`. Names that it makes are its own: it is called with its own name.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from .amqp import ClosedError, Talk, commands

Connect = Callable[..., Talk]
Scenario = Callable[[Talk, Connect, str], None]
SCENARIOS: dict[str, Scenario] = {}

Basic, Channel, Connection = commands.Basic, commands.Channel, commands.Connection
Confirm, Exchange, Queue, Tx = commands.Confirm, commands.Exchange, commands.Queue, commands.Tx


def scenario(function: Scenario) -> Scenario:
    """Add a scenario."""
    SCENARIOS[function.__name__] = function
    return function


def provoke(name: str, *methods: Callable[[str], Any], channel: int = 1) -> None:
    """Add a scenario that says some methods one after the other, and hears what becomes of each."""

    def play(t: Talk, connect: Connect, own: str) -> None:
        for make in methods:
            t.ask(make(own))

    SCENARIOS[name] = play


def declare(**options: Any) -> Callable[[str], Any]:
    arguments = options.pop("arguments", None)
    name = options.pop("name", None)
    return lambda own: Queue.Declare(
        queue=own if name is None else name, arguments=arguments, **options
    )


def argued(**arguments: Any) -> Callable[[str], Any]:
    return declare(arguments={key.replace("_", "-"): value for key, value in arguments.items()})


def exchange(kind: str = "direct", **options: Any) -> Callable[[str], Any]:
    name = options.pop("name", None)
    return lambda own: Exchange.Declare(
        exchange=own if name is None else name, exchange_type=kind, **options
    )


# one method each, or two

_ARGUMENTS: dict[str, dict[str, Any]] = {
    "ttl_negative": {"x_message_ttl": -1},
    "ttl_text": {"x_message_ttl": "a"},
    "ttl_huge": {"x_message_ttl": 2**53},
    "ttl_zero": {"x_message_ttl": 0},
    "expires_zero": {"x_expires": 0},
    "expires_text": {"x_expires": "1"},
    "max_length_negative": {"x_max_length": -5},
    "max_length_text": {"x_max_length": "ten"},
    "max_bytes_negative": {"x_max_length_bytes": -5},
    "dlx_number": {"x_dead_letter_exchange": 5},
    "dlk_alone": {"x_dead_letter_routing_key": "k"},
    "dlk_number": {"x_dead_letter_exchange": "", "x_dead_letter_routing_key": 5},
    "priority_huge": {"x_max_priority": 1000},
    "priority_negative": {"x_max_priority": -1},
    "priority_text": {"x_max_priority": "high"},
    "overflow_unknown": {"x_overflow": "zz"},
    "overflow_number": {"x_overflow": 1},
    "overflow_dlx": {"x_overflow": "reject-publish-dlx"},
    "mode_unknown": {"x_queue_mode": "zz"},
    "mode_lazy": {"x_queue_mode": "lazy"},
    "version_unknown": {"x_queue_version": 7},
    "version_two": {"x_queue_version": 2},
    "type_unknown": {"x_queue_type": "zz"},
    "type_number": {"x_queue_type": 1},
    "single_active_text": {"x_single_active_consumer": "yes"},
    "unknown_argument": {"x_nothing": "yes"},
    "delivery_limit_on_classic": {"x_delivery_limit": 3},
    "consumer_timeout": {"x_consumer_timeout": 60_000},
    "max_age_on_classic": {"x_max_age": "1D"},
    "ttl_boolean": {"x_message_ttl": True},
    "ttl_float": {"x_message_ttl": 1.5},
    "locator": {"x_queue_master_locator": "min-masters"},
}
for label, arguments in _ARGUMENTS.items():
    provoke(f"declare_{label}", argued(**arguments))

_OPTIONS: dict[str, dict[str, Any]] = {
    "quorum_not_durable": {"arguments": {"x-queue-type": "quorum"}},
    "quorum_exclusive": {
        "durable": True,
        "exclusive": True,
        "arguments": {"x-queue-type": "quorum"},
    },
    "quorum_auto_delete": {
        "durable": True,
        "auto_delete": True,
        "arguments": {"x-queue-type": "quorum"},
    },
    "quorum_priority": {
        "durable": True,
        "arguments": {"x-queue-type": "quorum", "x-max-priority": 3},
    },
    "quorum_lazy": {
        "durable": True,
        "arguments": {"x-queue-type": "quorum", "x-queue-mode": "lazy"},
    },
    "quorum_reject_dlx": {
        "durable": True,
        "arguments": {"x-queue-type": "quorum", "x-overflow": "reject-publish-dlx"},
    },
    "quorum_limit_negative": {
        "durable": True,
        "arguments": {"x-queue-type": "quorum", "x-delivery-limit": -1},
    },
    "quorum_strategy": {
        "durable": True,
        "arguments": {
            "x-queue-type": "quorum",
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
            "x-dead-letter-exchange": "amq.direct",
        },
    },
    "quorum_strategy_unknown": {
        "durable": True,
        "arguments": {"x-queue-type": "quorum", "x-dead-letter-strategy": "zz"},
    },
    "quorum_group_size": {
        "durable": True,
        "arguments": {"x-queue-type": "quorum", "x-quorum-initial-group-size": 3},
    },
    "stream_not_durable": {"arguments": {"x-queue-type": "stream"}},
    "stream_exclusive": {
        "durable": True,
        "exclusive": True,
        "arguments": {"x-queue-type": "stream"},
    },
    "stream_auto_delete": {
        "durable": True,
        "auto_delete": True,
        "arguments": {"x-queue-type": "stream"},
    },
    "stream_ttl": {"durable": True, "arguments": {"x-queue-type": "stream", "x-message-ttl": 5}},
    "stream_expires": {"durable": True, "arguments": {"x-queue-type": "stream", "x-expires": 5}},
    "stream_dlx": {
        "durable": True,
        "arguments": {"x-queue-type": "stream", "x-dead-letter-exchange": ""},
    },
    "stream_length": {"durable": True, "arguments": {"x-queue-type": "stream", "x-max-length": 5}},
    "stream_age": {"durable": True, "arguments": {"x-queue-type": "stream", "x-max-age": "1Z"}},
    "stream_age_number": {"durable": True, "arguments": {"x-queue-type": "stream", "x-max-age": 7}},
    "stream_single": {
        "durable": True,
        "arguments": {"x-queue-type": "stream", "x-single-active-consumer": True},
    },
    "stream_priority": {
        "durable": True,
        "arguments": {"x-queue-type": "stream", "x-max-priority": 5},
    },
    "stream_segment": {
        "durable": True,
        "arguments": {
            "x-queue-type": "stream",
            "x-stream-max-segment-size-bytes": 1000,
            "x-max-age": "7D",
            "x-max-length-bytes": 10000,
        },
    },
    "stream_overflow": {
        "durable": True,
        "arguments": {"x-queue-type": "stream", "x-overflow": "drop-head"},
    },
    "classic_exclusive_durable": {"durable": True, "exclusive": True},
    "of_server_twice": {"name": ""},
    "reserved": {"name": "amq.zz"},
    "reserved_generated": {"name": "amq.gen-abc"},
    "passive_reserved": {"name": "amq.zz", "passive": True},
    "passive_missing": {"passive": True},
    "empty_passive": {"name": "", "passive": True},
    "long_name": {"name": "q" * 255},
    "reply_to": {"name": "amq.rabbitmq.reply-to", "passive": True},
    "reply_to_active": {"name": "amq.rabbitmq.reply-to"},
}
for label, options in _OPTIONS.items():
    provoke(f"declare_{label}", declare(**options))

for label, first, second in [
    ("same", declare(), declare()),
    ("durable", declare(), declare(durable=True)),
    ("not_durable", declare(durable=True), declare()),
    ("auto_delete", declare(), declare(auto_delete=True)),
    ("exclusive", declare(), declare(exclusive=True)),
    ("not_exclusive", declare(exclusive=True), declare()),
    ("argument_new", declare(), argued(x_max_length=3)),
    ("argument_gone", argued(x_max_length=3), declare()),
    ("argument_other", argued(x_max_length=3), argued(x_max_length=4)),
    ("argument_same", argued(x_max_length=3), argued(x_max_length=3)),
    ("argument_text", argued(x_dead_letter_exchange="a"), argued(x_dead_letter_exchange="b")),
    ("argument_type", argued(x_message_ttl=3000), argued(x_message_ttl=4_000_000_000)),
    ("argument_unknown", declare(), argued(x_nothing=1)),
    ("argument_lazy", declare(), argued(x_queue_mode="lazy")),
    ("argument_default_mode", declare(), argued(x_queue_mode="default")),
    ("argument_priority", argued(x_max_priority=5), argued(x_max_priority=6)),
    ("argument_overflow", declare(), argued(x_overflow="drop-head")),
    ("argument_single", declare(), argued(x_single_active_consumer=True)),
    ("argument_classic", declare(), argued(x_queue_type="classic")),
    ("argument_consumer_timeout", declare(), argued(x_consumer_timeout=60_000)),
    ("argument_delivery_limit", declare(durable=True), declare(durable=True, arguments={"x-delivery-limit": 5})),
    ("type", declare(durable=True), declare(durable=True, arguments={"x-queue-type": "quorum"})),
    ("type_back", declare(durable=True, arguments={"x-queue-type": "quorum"}), declare(durable=True)),
    ("stream_type", declare(durable=True, arguments={"x-queue-type": "stream"}), declare(durable=True)),
    ("stream_age", declare(durable=True, arguments={"x-queue-type": "stream", "x-max-age": "1D"}), declare(durable=True, arguments={"x-queue-type": "stream", "x-max-age": "2D"})),
    ("passive_other", declare(), declare(passive=True, durable=True)),
    ("dlk", argued(x_dead_letter_exchange="a", x_dead_letter_routing_key="k"), argued(x_dead_letter_exchange="a", x_dead_letter_routing_key="l")),
]:  # fmt: skip
    provoke(f"redeclare_{label}", first, second)

for label, methods in {
    "missing_passive": [exchange(passive=True)],
    "unknown_type": [exchange("nope")],
    "unknown_type_passive": [exchange("nope", passive=True)],
    "reserved": [exchange(name="amq.zz")],
    "reserved_same": [exchange("topic", name="amq.topic", durable=True)],
    "reserved_other": [exchange("fanout", name="amq.topic", durable=True)],
    "reserved_not_durable": [exchange("topic", name="amq.topic")],
    "default": [exchange(name="")],
    "default_passive": [exchange(name="", passive=True)],
    "type_differs": [exchange("direct"), exchange("fanout")],
    "type_differs_passive": [exchange("direct"), exchange("fanout", passive=True)],
    "durable_differs": [exchange("direct"), exchange("direct", durable=True)],
    "auto_delete_differs": [exchange("direct"), exchange("direct", auto_delete=True)],
    "internal_differs": [exchange("direct"), exchange("direct", internal=True)],
    "alternate_differs": [exchange("direct"), exchange("direct", arguments={"alternate-exchange": "b"})],
    "alternate_number": [exchange("direct", arguments={"alternate-exchange": 5})],
    "unknown_argument": [exchange("direct"), exchange("direct", arguments={"foo": "b"})],
    "delayed_unknown": [exchange("x-unheard")],
}.items():  # fmt: skip
    provoke(f"exchange_{label}", *methods)

for label, methods in {
    "delete_default": [lambda own: Exchange.Delete(exchange="")],
    "delete_reserved": [lambda own: Exchange.Delete(exchange="amq.direct")],
    "delete_reserved_missing": [lambda own: Exchange.Delete(exchange="amq.zz")],
    "delete_missing": [lambda own: Exchange.Delete(exchange=own)],
    "delete_used": [exchange(), declare(), lambda own: Queue.Bind(queue=own, exchange=own, routing_key="k"), lambda own: Exchange.Delete(exchange=own, if_unused=True)],
    "delete_unused": [exchange(), lambda own: Exchange.Delete(exchange=own, if_unused=True)],
    "delete_destination_if_unused": [exchange(), exchange(name="e_x_b"), lambda own: Exchange.Bind(destination="e_x_b", source=own, routing_key="k"), lambda own: Exchange.Delete(exchange="e_x_b", if_unused=True)],
    "bind_missing_destination": [lambda own: Exchange.Bind(destination=own, source="amq.direct", routing_key="k")],
    "bind_missing_source": [lambda own: Exchange.Bind(destination="amq.direct", source=own, routing_key="k")],
    "bind_default_source": [lambda own: Exchange.Bind(destination="amq.direct", source="", routing_key="k")],
    "bind_default_destination": [lambda own: Exchange.Bind(destination="", source="amq.direct", routing_key="k")],
    "unbind_missing": [exchange(), lambda own: Exchange.Unbind(destination=own, source="amq.direct", routing_key="k")],
    "unbind_missing_source": [exchange(), lambda own: Exchange.Unbind(destination=own, source="e_nothing", routing_key="k")],
    "queue_bind_missing_queue": [lambda own: Queue.Bind(queue=own, exchange="amq.direct", routing_key="k")],
    "queue_bind_missing_exchange": [declare(), lambda own: Queue.Bind(queue=own, exchange="e_nothing", routing_key="k")],
    "queue_bind_both_missing": [lambda own: Queue.Bind(queue=own, exchange="e_nothing", routing_key="k")],
    "queue_bind_default": [declare(), lambda own: Queue.Bind(queue=own, exchange="", routing_key="k")],
    "queue_bind_last": [declare(), lambda own: Queue.Bind(queue="", exchange="amq.direct", routing_key="")],
    "queue_bind_no_last": [lambda own: Queue.Bind(queue="", exchange="amq.direct", routing_key="")],
    "queue_bind_headers_match": [declare(), lambda own: Queue.Bind(queue=own, exchange="amq.headers", routing_key="", arguments={"x-match": "some"})],
    "queue_bind_headers_match_number": [declare(), lambda own: Queue.Bind(queue=own, exchange="amq.headers", routing_key="", arguments={"x-match": 5})],
    "queue_bind_headers_no_match": [declare(), lambda own: Queue.Bind(queue=own, exchange="amq.headers", routing_key="", arguments={"a": 5})],
    "queue_unbind_nothing": [declare(), lambda own: Queue.Unbind(queue=own, exchange="amq.direct", routing_key="k")],
    "queue_unbind_missing_queue": [lambda own: Queue.Unbind(queue=own, exchange="amq.direct", routing_key="k")],
    "queue_unbind_missing_exchange": [declare(), lambda own: Queue.Unbind(queue=own, exchange="e_nothing", routing_key="k")],
    "queue_unbind_default": [declare(), lambda own: Queue.Unbind(queue=own, exchange="", routing_key=own)],
    "queue_delete_missing": [lambda own: Queue.Delete(queue=own)],
    "queue_delete_empty_name": [lambda own: Queue.Delete(queue="")],
    "queue_purge_missing": [lambda own: Queue.Purge(queue=own)],
    "queue_purge_stream": [declare(durable=True, arguments={"x-queue-type": "stream"}), lambda own: Queue.Purge(queue=own)],
    "consume_missing": [lambda own: Basic.Consume(queue=own)],
    "consume_no_last": [lambda own: Basic.Consume(queue="")],
    "consume_priority_text": [declare(), lambda own: Basic.Consume(queue=own, arguments={"x-priority": "a"})],
    "consume_tag_twice": [declare(), lambda own: Basic.Consume(queue=own, consumer_tag="t"), lambda own: Basic.Consume(queue=own, consumer_tag="t")],
    "consume_reply_to_acks": [lambda own: Basic.Consume(queue="amq.rabbitmq.reply-to")],
    "consume_reply_to_twice": [lambda own: Basic.Consume(queue="amq.rabbitmq.reply-to", no_ack=True), lambda own: Basic.Consume(queue="amq.rabbitmq.reply-to", no_ack=True)],
    "consume_reply_to_exclusive": [lambda own: Basic.Consume(queue="amq.rabbitmq.reply-to", no_ack=True, exclusive=True)],
    "consume_exclusive_twice": [declare(), lambda own: Basic.Consume(queue=own), lambda own: Basic.Consume(queue=own, exclusive=True)],
    "consume_after_exclusive": [declare(), lambda own: Basic.Consume(queue=own, exclusive=True), lambda own: Basic.Consume(queue=own)],
    "consume_exclusive_single_active": [argued(x_single_active_consumer=True), lambda own: Basic.Consume(queue=own, exclusive=True)],
    "get_exclusively_consumed": [declare(), lambda own: Basic.Consume(queue=own, exclusive=True), lambda own: Basic.Get(queue=own)],
    "get_missing": [lambda own: Basic.Get(queue=own)],
    "get_empty": [declare(), lambda own: Basic.Get(queue=own)],
    "get_stream": [declare(durable=True, arguments={"x-queue-type": "stream"}), lambda own: Basic.Get(queue=own)],
    "cancel_unknown": [lambda own: Basic.Cancel(consumer_tag="nothing")],
    "cancel_empty": [lambda own: Basic.Cancel(consumer_tag="")],
    "qos_size": [lambda own: Basic.Qos(prefetch_size=10)],
    "ack_unknown": [lambda own: Basic.Ack(delivery_tag=99)],
    "ack_zero": [lambda own: Basic.Ack(delivery_tag=0)],
    "ack_zero_multiple": [lambda own: Basic.Ack(delivery_tag=0, multiple=True), lambda own: Queue.Declare(queue="", exclusive=True)],
    "nack_unknown": [lambda own: Basic.Nack(delivery_tag=99)],
    "reject_unknown": [lambda own: Basic.Reject(delivery_tag=99)],
    "recover_no_requeue": [lambda own: Basic.Recover(requeue=False)],
    "recover_requeue": [lambda own: Basic.Recover(requeue=True)],
    "tx_commit_alone": [lambda own: Tx.Commit()],
    "tx_rollback_alone": [lambda own: Tx.Rollback()],
    "tx_after_confirm": [lambda own: Confirm.Select(), lambda own: Tx.Select()],
    "confirm_after_tx": [lambda own: Tx.Select(), lambda own: Confirm.Select()],
    "tx_twice": [lambda own: Tx.Select(), lambda own: Tx.Select()],
    "confirm_twice": [lambda own: Confirm.Select(), lambda own: Confirm.Select()],
    "flow_off": [lambda own: Channel.Flow(active=False)],
    "flow_on": [lambda own: Channel.Flow(active=True)],
    "channel_close": [lambda own: Channel.Close(200, "bye", 0, 0)],
    "connection_close": [lambda own: Connection.Close(200, "bye", 0, 0)],
    "update_secret": [lambda own: Connection.UpdateSecret("guest", "because")],
    "update_secret_to_another": [lambda own: Connection.UpdateSecret("new", "because")],
    "server_method": [lambda own: Queue.DeclareOk("q", 0, 0)],
    "server_method_on_connection": [lambda own: Connection.OpenOk()],
}.items():  # fmt: skip
    provoke(label, *methods)


# longer ones


@scenario
def default_exchange_binding(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own))
    t.publish("", own, b"one", mandatory=True)
    t.publish("", "q_nowhere", b"two", mandatory=True, message_id="m")
    t.hear(1)
    t.ask(Basic.Get(queue=own, no_ack=True))
    t.ask(Basic.Get(queue=own, no_ack=True))


_KEYS_OF_NO_QUEUE = ["", "\0", "a\nb", "+", "#", "k" * 255]


@scenario
def default_exchange_by_a_key_of_no_queue(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Confirm.Select())
    for key in _KEYS_OF_NO_QUEUE:
        t.publish("", key, b"gone")
        t.publish("", key, b"back", mandatory=True)
    t.hear(len(_KEYS_OF_NO_QUEUE))
    t.confirmed(2 * len(_KEYS_OF_NO_QUEUE))


@scenario
def keys_of_no_queue_beside_one_that_there_is(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own))
    t.ask(Confirm.Select())
    t.publish("", "", headers={"CC": [own, ""], "BCC": ["", "+"]}, mandatory=True)
    t.publish("", own, headers={"CC": [""]}, mandatory=True)
    t.confirmed(2)
    t.ask(Basic.Get(queue=own, no_ack=True))
    t.ask(Basic.Get(queue=own, no_ack=True))


@scenario
def dead_letters_by_a_key_of_no_queue(t: Talk, connect: Connect, own: str) -> None:
    arguments: dict[str, Any] = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": ""}
    t.ask(Queue.Declare(queue=own, arguments=arguments))
    t.ask(Basic.Consume(queue=own))
    t.publish("", own)
    t.hear(1)
    t.say(Basic.Reject(delivery_tag=1, requeue=False))
    t.ask(Queue.Declare(queue=own, passive=True))


@scenario
def answers_to_no_queue(t: Talk, connect: Connect, own: str) -> None:
    """What the client says of replies comes back as it was, dead letters included."""
    arguments: dict[str, Any] = {
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": f"{own}-dead",
        "x-message-ttl": 1,
    }
    t.ask(Queue.Declare(queue=f"{own}-dead"))
    t.ask(Queue.Declare(queue=own, arguments=arguments))
    for number, reply_to in enumerate(("", "\0", "+", "a/b", "amq.rabbitmq.reply-to.x"), 1):
        t.publish("", own, reply_to=reply_to)
        t.until(f"{own}-dead", number)
    t.ask(Basic.Consume(queue=f"{own}-dead", no_ack=True))
    t.hear(5)


@scenario
def publish_missing_exchange(t: Talk, connect: Connect, own: str) -> None:
    t.publish("e_nothing", "k")
    t.answer()


@scenario
def publish_missing_exchange_with_confirms(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Confirm.Select())
    t.publish("amq.direct", "k")
    t.publish("e_nothing", "k")
    t.answer()


@scenario
def publish_internal(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Exchange.Declare(exchange=own, internal=True))
    t.publish(own, "k")
    t.answer()


@scenario
def publish_immediate(t: Talk, connect: Connect, own: str) -> None:
    t.publish("", own, immediate=True)
    t.answer()


@scenario
def publish_wrong_user(t: Talk, connect: Connect, own: str) -> None:
    t.publish("", own, user_id="bob")
    t.answer()


@scenario
def publish_right_user(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own))
    t.publish("", own, user_id="guest")
    t.ask(Basic.Get(queue=own, no_ack=True))


def _expiration(text: str) -> Scenario:
    def play(t: Talk, connect: Connect, own: str) -> None:
        t.ask(Queue.Declare(queue=own))
        t.publish("", own, expiration=text)
        t.until(own, 1)

    return play


for _label, _text in {"letters": "abc", "negative": "-1", "decimal": "1.5", "huge": str(2**40), "space": " 5", "plus": "+5000", "mixed": "5s"}.items():  # fmt: skip
    SCENARIOS[f"expiration_{_label}"] = _expiration(_text)


@scenario
def expiration_zero(t: Talk, connect: Connect, own: str) -> None:
    """A message that lives no time reaches who is there already."""
    t.ask(Queue.Declare(queue=own))
    t.publish("", own, expiration="0")
    t.ask(Basic.Get(queue=own, no_ack=True))
    t.ask(Basic.Consume(queue=own, consumer_tag="c", no_ack=True))
    t.publish("", own, b"y", expiration="0")
    t.hear(1)


@scenario
def message_ttl_zero(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own, arguments={"x-message-ttl": 0}))
    t.publish("", own)
    t.ask(Basic.Get(queue=own, no_ack=True))
    t.ask(Basic.Consume(queue=own, consumer_tag="c", no_ack=True))
    t.publish("", own, b"y")
    t.hear(1)


@scenario
def exclusive_of_others(t: Talk, connect: Connect, own: str) -> None:
    other = connect()
    other.ask(Queue.Declare(queue=own, exclusive=True))
    for method in (
        Queue.Declare(queue=own, passive=True), Queue.Declare(queue=own, exclusive=True),
        Queue.Delete(queue=own), Queue.Purge(queue=own), Basic.Get(queue=own),
        Basic.Consume(queue=own), Queue.Bind(queue=own, exchange="amq.direct", routing_key="k"),
        Queue.Unbind(queue=own, exchange="amq.direct", routing_key="k"),
    ):  # fmt: skip
        try:
            t.ask(method)
        except ClosedError:
            t.ask(Channel.Open())


@scenario
def exclusive_publish_by_others(t: Talk, connect: Connect, own: str) -> None:
    other = connect()
    other.ask(Queue.Declare(queue=own, exclusive=True))
    t.publish("", own, mandatory=True)
    t.rest()
    other.ask(Basic.Get(queue=own))
    t.answers += other.answers


@scenario
def a_life_of_messages(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own))
    for number in range(4):
        t.publish("", own, b"%d" % number)
    t.until(own, 4)
    t.ask(Basic.Get(queue=own))
    t.ask(Basic.Get(queue=own))
    t.say(Basic.Reject(delivery_tag=1, requeue=True))
    t.ask(Basic.Get(queue=own))
    t.say(Basic.Nack(delivery_tag=0, multiple=True, requeue=True))
    t.until(own, 4)
    t.ask(Basic.Get(queue=own))
    t.ask(Basic.Get(queue=own))
    t.say(Basic.Ack(delivery_tag=5, multiple=True))
    t.ask(Queue.Purge(queue=own))
    t.ask(Queue.Delete(queue=own, if_empty=True))


@scenario
def delete_with_messages(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own))
    t.publish("", own)
    t.publish("", own)
    t.until(own, 2)
    t.ask(Queue.Delete(queue=own))


@scenario
def delete_not_empty(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own))
    t.publish("", own)
    t.until(own, 1)
    t.ask(Queue.Delete(queue=own, if_empty=True))


@scenario
def delete_in_use(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own))
    t.ask(Basic.Consume(queue=own, consumer_tag="c"))
    t.ask(Queue.Delete(queue=own, if_unused=True))


@scenario
def delete_under_consumer(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own))
    t.ask(Basic.Consume(queue=own, consumer_tag="c"))
    other = connect()
    other.ask(Queue.Delete(queue=own))
    t.hear(1)


@scenario
def delete_under_simple_consumer(t: Talk, connect: Connect, own: str) -> None:
    """A client that did not say that it understands basic.cancel is not sent any."""
    simple = connect(capabilities={})
    simple.ask(Queue.Declare(queue=own))
    simple.ask(Basic.Consume(queue=own, consumer_tag="c"))
    t.ask(Queue.Delete(queue=own))
    simple.rest()
    t.deliveries += simple.deliveries


@scenario
def consume_and_cancel(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own))
    t.ask(Basic.Consume(queue=own))
    t.ask(Basic.Consume(queue=own, consumer_tag="c"))
    t.ask(Queue.Declare(queue=own, passive=True))
    t.ask(Basic.Cancel(consumer_tag="c"))
    t.publish("", own)
    t.hear(1)
    t.say(Basic.Ack(delivery_tag=1))
    t.ask(Queue.Declare(queue=own, passive=True))


@scenario
def unacked_after_cancel(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own))
    t.publish("", own)
    t.ask(Basic.Consume(queue=own, consumer_tag="c"))
    t.hear(1)
    t.ask(Basic.Cancel(consumer_tag="c"))
    t.ask(Queue.Declare(queue=own, passive=True))
    t.ask(Channel.Close(200, "", 0, 0))
    t.ask(Channel.Open())
    t.ask(Basic.Get(queue=own))


@scenario
def prefetch_of_consumer(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own))
    for number in range(6):
        t.publish("", own, b"%d" % number)
    t.ask(Basic.Qos(prefetch_count=2))
    t.ask(Basic.Consume(queue=own, consumer_tag="c"))
    t.hear(2)
    t.rest()
    t.say(Basic.Ack(delivery_tag=1))
    t.hear(1)
    t.rest()
    t.ask(Basic.Qos(prefetch_count=1))
    t.say(Basic.Ack(delivery_tag=3, multiple=True))
    t.hear(2)
    t.rest()


@scenario
def prefetch_of_channel(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own))
    t.ask(Basic.Qos(prefetch_count=3, global_=True))
    t.ask(Basic.Consume(queue=own, consumer_tag="c"))
    for number in range(5):
        t.publish("", own, b"%d" % number)
    t.hear(3)
    t.rest()
    t.say(Basic.Ack(delivery_tag=1))
    t.hear(1)
    t.rest()


@scenario
def prefetch_does_not_hold_no_ack(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own))
    for number in range(3):
        t.publish("", own, b"%d" % number)
    t.ask(Basic.Qos(prefetch_count=1))
    t.ask(Basic.Consume(queue=own, consumer_tag="c", no_ack=True))
    t.hear(3)


@scenario
def prefetch_of_channel_and_get(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own))
    for number in range(4):
        t.publish("", own, b"%d" % number)
    t.ask(Basic.Qos(prefetch_count=1, global_=True))
    t.ask(Basic.Get(queue=own))
    t.ask(Basic.Get(queue=own))
    t.ask(Basic.Consume(queue=own, consumer_tag="c"))
    t.rest()


@scenario
def recover(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own))
    for number in range(3):
        t.publish("", own, b"%d" % number)
    t.ask(Basic.Consume(queue=own, consumer_tag="c"))
    t.hear(3)
    t.say(Basic.Ack(delivery_tag=2))
    t.ask(Basic.Recover(requeue=True))
    t.rest()


@scenario
def requeue_by_close(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own))
    for number in range(3):
        t.publish("", own, b"%d" % number)
    t.until(own, 3)
    other = connect()
    other.ask(Basic.Consume(queue=own, consumer_tag="c"))
    other.hear(3)
    other.ask(Connection.Close(200, "", 0, 0))
    t.ask(Basic.Get(queue=own))
    t.ask(Basic.Get(queue=own))


@scenario
def auto_delete(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own, auto_delete=True))
    t.ask(Queue.Declare(queue=own, passive=True))
    t.ask(Basic.Consume(queue=own, consumer_tag="c"))
    t.ask(Basic.Cancel(consumer_tag="c"))
    t.rest()
    t.ask(Queue.Declare(queue=own, passive=True))


@scenario
def auto_delete_exchange(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own))
    t.ask(Exchange.Declare(exchange=own, auto_delete=True))
    t.ask(Exchange.Declare(exchange=own, passive=True))
    t.ask(Queue.Bind(queue=own, exchange=own, routing_key="a"))
    t.ask(Queue.Bind(queue=own, exchange=own, routing_key="b"))
    t.ask(Queue.Unbind(queue=own, exchange=own, routing_key="a"))
    t.ask(Exchange.Declare(exchange=own, passive=True))
    t.ask(Queue.Delete(queue=own))
    t.ask(Exchange.Declare(exchange=own, passive=True))


@scenario
def auto_delete_exchange_by_exchange(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Exchange.Declare(exchange=own, auto_delete=True))
    t.ask(Exchange.Declare(exchange=f"{own}-b", auto_delete=True))
    t.ask(Exchange.Bind(destination=f"{own}-b", source=own, routing_key="a"))
    t.ask(Exchange.Delete(exchange=f"{own}-b"))
    t.ask(Exchange.Declare(exchange=own, passive=True))


@scenario
def exclusive_goes_with_connection(t: Talk, connect: Connect, own: str) -> None:
    other = connect()
    other.ask(Queue.Declare(queue=own, exclusive=True))
    other.ask(Connection.Close(200, "", 0, 0))
    t.ask(Queue.Declare(queue=own, passive=True))


_PATTERNS = ["#", "*", "a.*", "a.#", "#.c", "*.b.*", "", "a..b", "#.#", "*.*.*.#", "a.*.#", "#.b.#",
             "*.", ".*"]  # fmt: skip


@scenario
def topic_exchange(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Exchange.Declare(exchange=own, exchange_type="topic"))
    for number, pattern in enumerate(_PATTERNS):
        t.ask(Queue.Declare(queue=f"{own}-{number}"))
        t.ask(Queue.Bind(queue=f"{own}-{number}", exchange=own, routing_key=pattern))
    for key in ("a.b.c", "a", "", "a.", ".a", "a..b", "a.b", "x.y.z.w"):
        t.publish(own, key, key.encode())
    for number, pattern in enumerate(_PATTERNS):
        t.answers.append(pattern)
        _empty(t, f"{own}-{number}")


def _empty(t: Talk, queue: str) -> None:
    while t.ask(Basic.Get(queue=queue, no_ack=True)).name != "Basic.GetEmpty":
        pass


@scenario
def direct_and_fanout(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own))
    for kind in ("direct", "fanout"):
        t.ask(Exchange.Declare(exchange=f"{own}-{kind}", exchange_type=kind))
        for key in ("a", "a.b", "*", "#", "ü"):
            t.ask(Queue.Bind(queue=own, exchange=f"{own}-{kind}", routing_key=key))
        for key in ("a", "b", "*", "#", "a.b", "a.c", "", "ü", "a/b"):
            t.publish(f"{own}-{kind}", key, key.encode(), mandatory=True)
    t.rest()
    _empty(t, own)


_HEADERS: list[dict[str, Any]] = [
    {}, {"a": 1}, {"b": "x"}, {"a": 1, "b": "x"}, {"a": 2, "b": "x"}, {"a": 1, "b": "x", "c": True},
    {"a": "1"}, {"a": None}, {"x-a": 1}, {"x-a": 1, "a": 1}, {"a": 1.0}, {"a": True}, {"b": bytearray(b"x")},
]  # fmt: skip
_MATCHES: list[dict[str, Any]] = [
    {}, {"x-match": "all"}, {"x-match": "any"}, {"a": 1, "b": "x"}, {"x-match": "all", "a": 1, "b": "x"},
    {"x-match": "any", "a": 1, "b": "x"}, {"x-match": "any", "a": None}, {"a": None, "b": None},
    {"x-match": "all-with-x", "x-a": 1}, {"x-match": "any-with-x", "x-a": 1, "a": 1},
    {"x-match": "all", "x-a": 1}, {"x-match": "any", "x-a": 1}, {"a": True}, {"b": "x"},
]  # fmt: skip


@scenario
def headers_exchange(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Exchange.Declare(exchange=own, exchange_type="headers"))
    for number, match in enumerate(_MATCHES):
        t.ask(Queue.Declare(queue=f"{own}-{number}"))
        t.ask(Queue.Bind(queue=f"{own}-{number}", exchange=own, routing_key="", arguments=match))
    for number, headers in enumerate(_HEADERS):
        t.publish(own, "k", b"%d" % number, headers=headers)
    for number, match in enumerate(_MATCHES):
        t.answers.append(match)
        _empty(t, f"{own}-{number}")


@scenario
def alternate_exchange(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own))
    t.ask(Exchange.Declare(exchange=f"{own}-rest", exchange_type="fanout"))
    t.ask(Queue.Bind(queue=own, exchange=f"{own}-rest", routing_key=""))
    t.ask(Exchange.Declare(exchange=own, arguments={"alternate-exchange": f"{own}-rest"}))
    t.ask(
        Exchange.Declare(exchange=f"{own}-void", arguments={"alternate-exchange": f"{own}-missing"})
    )
    t.publish(own, "k", b"1", mandatory=True)
    t.publish(f"{own}-void", "k", b"2", mandatory=True)
    t.rest()
    t.ask(Basic.Get(queue=own, no_ack=True))


@scenario
def exchange_to_exchange(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own))
    t.ask(Exchange.Declare(exchange=f"{own}-a", exchange_type="topic"))
    t.ask(Exchange.Declare(exchange=f"{own}-b", exchange_type="fanout"))
    t.ask(Exchange.Bind(destination=f"{own}-b", source=f"{own}-a", routing_key="k.#"))
    t.ask(Exchange.Bind(destination=f"{own}-a", source=f"{own}-b", routing_key=""))
    t.ask(Queue.Bind(queue=own, exchange=f"{own}-b", routing_key=""))
    t.ask(Queue.Bind(queue=own, exchange=f"{own}-a", routing_key="#"))
    t.publish(f"{own}-a", "k.1", b"1")
    t.publish(f"{own}-b", "other", b"2")
    t.publish(f"{own}-a", "none", b"3", mandatory=True)
    t.rest()
    for _ in range(4):
        t.ask(Basic.Get(queue=own, no_ack=True))


@scenario
def carbon_copies(t: Talk, connect: Connect, own: str) -> None:
    for suffix in "abc":
        t.ask(Queue.Declare(queue=f"{own}-{suffix}"))
    headers = {"CC": [f"{own}-b"], "BCC": [f"{own}-c"], "other": 1}
    t.publish("", f"{own}-a", b"1", headers=headers)
    t.publish("", f"{own}-none", b"2", headers={"CC": [f"{own}-b"]}, mandatory=True)
    t.publish("", f"{own}-a", b"3", headers={"CC": [f"{own}-a", f"{own}-a"]})
    for suffix in "abc":
        for _ in range(3):
            t.ask(Basic.Get(queue=f"{own}-{suffix}", no_ack=True))
    t.publish("", f"{own}-a", b"4", headers={"CC": f"{own}-b"})
    t.answer()


@scenario
def copies_to_a_consumer_of_both_keys(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Exchange.Declare(exchange=own))
    t.ask(Queue.Declare(queue=own))
    for key in "ab":
        t.ask(Queue.Bind(queue=own, exchange=own, routing_key=key))
    t.ask(Basic.Consume(queue=own, no_ack=True, consumer_tag="c"))
    t.publish(own, "a", headers={"CC": ["b", "b"]})
    t.rest()


@scenario
def many_ways_to_one_consumer(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Exchange.Declare(exchange=own, exchange_type="topic"))
    t.ask(Exchange.Declare(exchange=f"{own}.all", exchange_type="fanout"))
    t.ask(Queue.Declare(queue=own))
    for key in ("#", "a", "*"):
        t.ask(Queue.Bind(queue=own, exchange=own, routing_key=key))
    t.ask(Queue.Bind(queue=own, exchange=f"{own}.all", routing_key=""))
    t.ask(Exchange.Bind(destination=own, source=f"{own}.all", routing_key=""))
    t.ask(Basic.Consume(queue=own, no_ack=True, consumer_tag="c"))
    t.publish(own, "a", b"by three bindings")
    t.publish(f"{own}.all", "a", b"by two exchanges")
    t.rest()


@scenario
def many_ways_to_a_queue_that_drops(t: Talk, connect: Connect, own: str) -> None:
    arguments: dict[str, Any] = {
        "x-max-length": 0, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": f"{own}.dead",
    }  # fmt: skip
    t.ask(Queue.Declare(queue=f"{own}.dead"))
    t.ask(Queue.Declare(queue=own, arguments=arguments))
    for key in "ab":
        t.ask(Queue.Bind(queue=own, exchange="amq.direct", routing_key=f"{own}.{key}"))
    t.publish("amq.direct", f"{own}.a", headers={"CC": [f"{own}.b"]})
    t.until(f"{own}.dead", 1)
    t.rest()


@scenario
def many_ways_to_a_stream(t: Talk, connect: Connect, own: str) -> None:
    arguments: dict[str, Any] = {"x-queue-type": "stream"}
    t.ask(Queue.Declare(queue=own, durable=True, arguments=arguments))
    t.ask(Exchange.Declare(exchange=own, exchange_type="topic"))
    for key in ("#", "a"):
        t.ask(Queue.Bind(queue=own, exchange=own, routing_key=key))
    t.ask(Basic.Qos(prefetch_count=10))
    t.ask(Basic.Consume(queue=own, consumer_tag="c", arguments={"x-stream-offset": "first"}))
    t.publish(own, "a")
    t.rest()
    t.ask(Queue.Delete(queue=own))


@scenario
def copies_beyond_a_bound_exchange(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Exchange.Declare(exchange=own))
    t.ask(Exchange.Declare(exchange=f"{own}.next"))
    t.ask(Queue.Declare(queue=own))
    t.ask(Exchange.Bind(destination=f"{own}.next", source=own, routing_key="a"))
    t.ask(Queue.Bind(queue=own, exchange=f"{own}.next", routing_key="b"))
    t.publish(own, "a", headers={"CC": ["b"]})
    t.publish(own, "b", headers={"CC": ["a"]})
    t.publish(own, "none", headers={"CC": ["b"]})
    t.until(own, 2)
    for _ in range(3):
        t.ask(Basic.Get(queue=own, no_ack=True))


@scenario
def copies_by_an_alternate_exchange(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Exchange.Declare(exchange=f"{own}.rest"))
    t.ask(Exchange.Declare(exchange=own, arguments={"alternate-exchange": f"{own}.rest"}))
    t.ask(Queue.Declare(queue=own))
    t.ask(Queue.Bind(queue=own, exchange=f"{own}.rest", routing_key="b"))
    t.publish(own, "a", headers={"CC": ["b"]}, mandatory=True)
    t.until(own, 1)
    t.ask(Basic.Get(queue=own, no_ack=True))


@scenario
def alternate_exchanges_in_a_circle(t: Talk, connect: Connect, own: str) -> None:
    names = [f"{own}.{letter}" for letter in "abc"]
    for name, following in zip(names, names[1:] + names[:1], strict=True):
        t.ask(Exchange.Declare(exchange=name, arguments={"alternate-exchange": following}))
        t.ask(Queue.Declare(queue=name))
        t.ask(Queue.Bind(queue=name, exchange=name, routing_key=name))
    for key in (*names, own):
        t.publish(names[0], key, mandatory=True)
    t.hear(1)
    for name in names:
        t.ask(Basic.Get(queue=name, no_ack=True))
        t.ask(Basic.Get(queue=name, no_ack=True))


def _ask_with_line_ends(t: Talk, method: Any) -> None:
    """Say a method with line ends for `,`, since pamqp refuses them, and wait for its answer."""
    from pamqp import frame

    t.write(frame.marshal(method, 1).replace(b",,", b"\r\n").replace(b",", b"\n"))
    t.answer()


@scenario
def names_with_line_ends(t: Talk, connect: Connect, own: str) -> None:
    split = f"{own[:3]},,{own[3:]},"
    _ask_with_line_ends(t, Exchange.Declare(exchange=split))
    t.ask(Exchange.Declare(exchange=own, passive=True))
    _ask_with_line_ends(t, Queue.Declare(queue=split))
    t.ask(Queue.Declare(queue=own, passive=True))
    _ask_with_line_ends(t, Queue.Bind(queue=split, exchange=split, routing_key="k,"))
    bound: dict[str, Any] = {"destination": split, "source": "amq.direct,", "routing_key": own}
    _ask_with_line_ends(t, Exchange.Bind(**bound))
    t.publish(own, "k\n")
    t.publish(own, "k")
    t.until(own, 1)
    _ask_with_line_ends(t, Queue.Unbind(queue=split, exchange=split, routing_key="k,"))
    _ask_with_line_ends(t, Exchange.Unbind(**bound))
    _ask_with_line_ends(t, Queue.Delete(queue=split))
    t.ask(Queue.Declare(queue=own, passive=True))


@scenario
def purging_a_name_with_a_line_end(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own))
    _ask_with_line_ends(t, Queue.Purge(queue=f"{own},"))


@scenario
def consuming_from_a_name_with_a_line_end(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own))
    _ask_with_line_ends(t, Basic.Consume(queue=f"{own},"))


@scenario
def exchange_deleted_with_a_line_end(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Exchange.Declare(exchange=own))
    _ask_with_line_ends(t, Exchange.Delete(exchange=f"{own},"))
    t.ask(Exchange.Declare(exchange=own, passive=True))


@scenario
def empty_keys_of_the_root(t: Talk, connect: Connect, own: str) -> None:
    keys = ["", "#", "*", "*.*", "#.*", "*.#", "*.*.#", "#.#", own]
    for index, key in enumerate(keys):
        t.ask(Queue.Declare(queue=f"{own}-{index}", exclusive=True))
        t.ask(Queue.Bind(queue=f"{own}-{index}", exchange="amq.topic", routing_key=key))
    t.publish("amq.topic", "", own.encode())
    t.publish("amq.topic", own, b"last")
    t.until(f"{own}-{len(keys) - 1}", 1)
    for index in range(len(keys)):
        # Only what this test has sent counts: others publish here, too.
        got = {own.encode(): 0}
        while True:
            t.say(Basic.Get(queue=f"{own}-{index}", no_ack=True))
            found = t.read(5)
            assert found is not None
            if found[1].name == "Basic.GetEmpty":
                break
            if found[3] in got:
                got[found[3]] += 1
                t.answers.append((found[1].exchange, found[1].routing_key))
        t.answers.append((index, list(got.values())))


@scenario
def dead_letter_with_an_empty_key_of_the_root(t: Talk, connect: Connect, own: str) -> None:
    # A time to live of the queue's: another's message with an empty key may be in front, and live on.
    arguments: dict[str, Any] = {"x-dead-letter-exchange": own, "x-message-ttl": 1}
    t.ask(Exchange.Declare(exchange=own))
    t.ask(Queue.Declare(queue=own))
    t.ask(Queue.Bind(queue=own, exchange=own, routing_key=""))
    t.ask(Queue.Declare(queue=f"{own}.first", exclusive=True, arguments=arguments))
    t.ask(Queue.Bind(queue=f"{own}.first", exchange="amq.topic", routing_key=""))
    t.publish("amq.topic", "", own.encode())
    t.ask(Basic.Consume(queue=own, no_ack=True))
    while True:
        found = t.read(5)
        assert found is not None, "nothing was dead-lettered"
        if found[3] == own.encode():  # others publish with an empty key, too
            (death,) = found[2].headers["x-death"]
            t.answers.append((found[1].routing_key, death["exchange"], death["routing-keys"]))
            return


@scenario
def arguments_of_another_type(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own, arguments={"x-message-ttl": 10}))
    t.ask(Queue.Declare(queue=own, arguments={"x-message-ttl": 10.0}))


@scenario
def flag_as_a_number(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own, arguments={"x-single-active-consumer": True}))
    t.ask(Queue.Declare(queue=own, arguments={"x-single-active-consumer": 1}))


@scenario
def requeued_when_it_has_expired(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=f"{own}.dead"))
    arguments: dict[str, Any] = {
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": f"{own}.dead",
    }
    t.ask(Queue.Declare(queue=own, arguments=arguments))
    t.ask(Basic.Consume(queue=own, consumer_tag="c"))
    t.publish("", own, expiration="0")
    t.hear(1)
    t.say(Basic.Reject(delivery_tag=t.tag, requeue=True))
    t.until(f"{own}.dead", 1)
    t.rest()


@scenario
def expired_with_the_channel_that_held_it(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own))
    t.ask(Basic.Consume(queue=own, consumer_tag="c"))
    t.publish("", own, expiration="0")
    t.hear(1)
    t.ask(Channel.Close(reply_code=200, reply_text="", class_id=0, method_id=0))
    t.ask(Channel.Open(), 2)
    t.ask(Basic.Get(queue=own), 2)


@scenario
def expiry_begins_with_the_commit(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own))
    t.ask(Tx.Select())
    t.publish("", own, expiration="300")
    t.ask(Queue.Declare(queue=own, passive=True))
    time.sleep(0.4)
    t.ask(Tx.Commit())
    t.ask(Basic.Get(queue=own))


def _keep_declaring(t: Talk, own: str, *, passive: bool) -> None:
    """Declare a queue for longer than it is left alone for."""
    t.ask(Queue.Declare(queue=own, arguments={"x-expires": 1000}))
    for _ in range(4):
        time.sleep(0.4)
        t.ask(Queue.Declare(queue=own, arguments={"x-expires": 1000}, passive=passive))


@scenario
def declared_again_it_does_not_expire(t: Talk, connect: Connect, own: str) -> None:
    _keep_declaring(t, own, passive=False)


@scenario
def asked_for_it_does_not_expire(t: Talk, connect: Connect, own: str) -> None:
    _keep_declaring(t, own, passive=True)


@scenario
def limit_of_the_channel_holds_consumers_without_acks(t: Talk, connect: Connect, own: str) -> None:
    for suffix in "ab":
        t.ask(Queue.Declare(queue=f"{own}-{suffix}"))
    t.ask(Basic.Qos(prefetch_count=1, global_=True))
    t.ask(Basic.Consume(queue=f"{own}-a", consumer_tag="a"))
    t.publish("", f"{own}-a")
    t.hear(1)
    t.ask(Basic.Consume(queue=f"{own}-b", consumer_tag="b", no_ack=True))
    for _ in range(3):
        t.publish("", f"{own}-b")
    t.rest()
    t.say(Basic.Ack(delivery_tag=1))
    t.hear(3)


@scenario
def bad_blind_copy(t: Talk, connect: Connect, own: str) -> None:
    t.publish("", own, headers={"BCC": 5})
    t.answer()


@scenario
def confirms(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own))
    t.ask(Confirm.Select())
    for number in range(5):
        t.publish("", own, b"%d" % number, delivery_mode=2)
    t.publish("", "q_nowhere")
    t.publish("", "q_nowhere", mandatory=True)
    t.confirmed(7)


@scenario
def overflow_reject(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own, arguments={"x-max-length": 2, "x-overflow": "reject-publish"}))
    t.ask(Confirm.Select())
    for number in range(4):
        t.publish("", own, b"%d" % number)
        t.confirmed(number + 1)
    for _ in range(3):
        t.ask(Basic.Get(queue=own, no_ack=True))


@scenario
def overflow_drop_head(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=f"{own}-dead"))
    t.ask(
        Queue.Declare(
            queue=own,
            arguments={
                "x-max-length": 2,
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": f"{own}-dead",
            },
        )
    )
    t.ask(Confirm.Select())
    for number in range(4):
        t.publish("", own, b"%d" % number)
    t.confirmed(4)
    for _ in range(3):
        t.ask(Basic.Get(queue=own, no_ack=True))
    t.rest()
    for _ in range(3):
        t.ask(Basic.Get(queue=f"{own}-dead", no_ack=True))


@scenario
def overflow_bytes(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own, arguments={"x-max-length-bytes": 10}))
    for number in range(4):
        t.publish("", own, b"12345678"[: number * 2 + 2])
    for _ in range(3):
        t.ask(Basic.Get(queue=own, no_ack=True))


@scenario
def overflow_does_not_count_unacked(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own, arguments={"x-max-length": 1}))
    t.publish("", own, b"0")
    t.ask(Basic.Get(queue=own))
    t.publish("", own, b"1")
    t.publish("", own, b"2")
    t.say(Basic.Nack(delivery_tag=1, requeue=True))
    for _ in range(3):
        t.ask(Basic.Get(queue=own, no_ack=True))


@scenario
def overflow_reject_dead_letter(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=f"{own}-dead"))
    t.ask(
        Queue.Declare(
            queue=own,
            arguments={
                "x-max-length": 1,
                "x-overflow": "reject-publish-dlx",
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": f"{own}-dead",
            },
        )
    )
    t.ask(Confirm.Select())
    for number in range(3):
        t.publish("", own, b"%d" % number)
        t.confirmed(number + 1)
    t.rest()
    for _ in range(3):
        t.ask(Basic.Get(queue=f"{own}-dead", no_ack=True))


@scenario
def max_length_zero(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own, arguments={"x-max-length": 0}))
    t.publish("", own, b"0")
    t.ask(Basic.Get(queue=own))
    t.ask(Basic.Consume(queue=own, consumer_tag="c", no_ack=True))
    t.publish("", own, b"1")
    t.hear(1)


@scenario
def dead_letters(t: Talk, connect: Connect, own: str) -> None:
    """x-death over several queues, reasons and cycles."""
    t.ask(Exchange.Declare(exchange=own, exchange_type="direct"))
    t.ask(Queue.Declare(queue=f"{own}-a", arguments={"x-dead-letter-exchange": own}))
    t.ask(
        Queue.Declare(
            queue=f"{own}-b",
            arguments={
                "x-dead-letter-exchange": own,
                "x-dead-letter-routing-key": "back",
                "x-message-ttl": 20,
            },
        )
    )
    t.ask(Queue.Bind(queue=f"{own}-a", exchange=own, routing_key="start"))
    t.ask(Queue.Bind(queue=f"{own}-b", exchange=own, routing_key="start"))
    t.ask(Queue.Bind(queue=f"{own}-a", exchange=own, routing_key="back"))
    t.ask(Queue.Bind(queue=f"{own}-b", exchange=own, routing_key="back"))
    t.publish(
        "",
        f"{own}-a",
        b"m",
        headers={"kept": "yes", "x-death": "forged"},
        expiration="60000",
        message_id="m1",
    )
    t.ask(Basic.Consume(queue=f"{own}-a", consumer_tag="c"))
    t.hear(1)
    t.say(Basic.Reject(delivery_tag=t.tag, requeue=False))
    t.rest()


@scenario
def dead_letter_cycles(t: Talk, connect: Connect, own: str) -> None:
    t.ask(
        Queue.Declare(
            queue=own,
            arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": f"{own}-wait"},
        )
    )
    t.ask(
        Queue.Declare(
            queue=f"{own}-wait",
            arguments={
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": own,
                "x-message-ttl": 20,
            },
        )
    )
    t.publish("", own, b"m", headers={"n": 1})
    t.ask(Basic.Consume(queue=own, consumer_tag="c"))
    for _ in range(3):
        t.hear(1)
        t.say(Basic.Nack(delivery_tag=t.tag, requeue=False))
    t.hear(1)
    t.say(Basic.Ack(delivery_tag=t.tag))


@scenario
def dead_letter_cycle_without_rejection(t: Talk, connect: Connect, own: str) -> None:
    """A message that would go round by itself is dropped."""
    t.ask(
        Queue.Declare(
            queue=own,
            arguments={
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": own,
                "x-message-ttl": 20,
            },
        )
    )
    t.publish("", own, b"m")
    t.rest()
    t.ask(Queue.Declare(queue=own, passive=True))


@scenario
def dead_letter_to_missing_exchange(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own, arguments={"x-dead-letter-exchange": "e_nothing"}))
    t.publish("", own, b"m")
    t.ask(Basic.Get(queue=own))
    t.say(Basic.Reject(delivery_tag=1, requeue=False))
    t.ask(Queue.Declare(queue=own, passive=True))


@scenario
def dead_letter_with_copies(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=f"{own}-dead"))
    t.ask(Queue.Bind(queue=f"{own}-dead", exchange="amq.topic", routing_key=f"{own}.#"))
    t.ask(Queue.Declare(queue=f"{own}.q", arguments={"x-dead-letter-exchange": "amq.topic"}))
    t.publish(
        "",
        f"{own}.q",
        b"m",
        headers={"CC": [f"{own}.other"], "BCC": ["x"]},
        reply_to="r",
        correlation_id="c",
    )
    t.ask(Basic.Get(queue=f"{own}.q"))
    t.say(Basic.Reject(delivery_tag=1, requeue=False))
    t.ask(Basic.Consume(queue=f"{own}-dead", consumer_tag="c", no_ack=True))
    t.hear(1)


@scenario
def dead_letter_keeps_key(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Exchange.Declare(exchange=own, exchange_type="fanout"))
    t.ask(Queue.Declare(queue=f"{own}-dead"))
    t.ask(Queue.Bind(queue=f"{own}-dead", exchange=own, routing_key=""))
    t.ask(Queue.Declare(queue=own, arguments={"x-dead-letter-exchange": own, "x-max-length": 1}))
    t.ask(Queue.Bind(queue=own, exchange="amq.direct", routing_key="orig.key"))
    t.publish(
        "amq.direct",
        "orig.key",
        b"1",
        priority=3,
        message_type="t",
        app_id="a",
        timestamp=datetime(2024, 1, 2, tzinfo=UTC),
    )
    t.publish("amq.direct", "orig.key", b"2")
    t.ask(Basic.Consume(queue=f"{own}-dead", consumer_tag="c", no_ack=True))
    t.hear(1)


@scenario
def priorities(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own, arguments={"x-max-priority": 3}))
    for number, priority in enumerate([0, 1, 5, 3, 2, None, 1, 255]):
        more: dict[str, Any] = {} if priority is None else {"priority": priority}
        t.publish("", own, b"%d" % number, **more)
    _empty(t, own)


@scenario
def priority_overflow(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own, arguments={"x-max-priority": 3, "x-max-length": 2}))
    for number, priority in enumerate([3, 0, 1, 2]):
        t.publish("", own, b"%d" % number, priority=priority)
    for _ in range(3):
        t.ask(Basic.Get(queue=own, no_ack=True))


@scenario
def single_active(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own, arguments={"x-single-active-consumer": True}))
    other = connect()
    t.ask(Basic.Consume(queue=own, consumer_tag="a"))
    other.ask(Basic.Consume(queue=own, consumer_tag="b"))
    other.publish("", own, b"1")
    other.publish("", own, b"2")
    t.hear(2)
    other.rest()
    t.ask(Basic.Cancel(consumer_tag="a"))
    other.publish("", own, b"3")
    other.hear(1)
    t.ask(Channel.Close(200, "", 0, 0))
    other.hear(2)
    t.deliveries += other.deliveries


@scenario
def consumer_priorities(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own))
    t.ask(Basic.Qos(prefetch_count=1))
    t.ask(Basic.Consume(queue=own, consumer_tag="low", arguments={"x-priority": -1}))
    t.ask(Basic.Consume(queue=own, consumer_tag="high", arguments={"x-priority": 5}))
    t.ask(Basic.Consume(queue=own, consumer_tag="mid"))
    for number in range(4):
        t.publish("", own, b"%d" % number)
    t.hear(3)
    t.rest()


@scenario
def round_robin(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own))
    t.ask(Basic.Consume(queue=own, consumer_tag="a"))
    t.ask(Basic.Consume(queue=own, consumer_tag="b"))
    for number in range(4):
        t.publish("", own, b"%d" % number)
        t.hear(1)


@scenario
def quorum_delivery_limit(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=f"{own}-dead"))
    t.ask(
        Queue.Declare(
            queue=own,
            durable=True,
            arguments={
                "x-queue-type": "quorum",
                "x-delivery-limit": 2,
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": f"{own}-dead",
            },
        )
    )
    t.publish("", own, b"m", headers={"a": 1})
    t.ask(Basic.Consume(queue=own, consumer_tag="c"))
    for _ in range(3):
        t.hear(1)
        t.say(Basic.Nack(delivery_tag=t.tag, requeue=True))
    t.ask(Basic.Consume(queue=f"{own}-dead", consumer_tag="d", no_ack=True))
    t.hear(1)


@scenario
def quorum_get(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own, durable=True, arguments={"x-queue-type": "quorum"}))
    t.ask(Confirm.Select())
    t.publish("", own, b"m")
    t.confirmed(1)
    t.ask(Basic.Get(queue=own))
    t.say(Basic.Nack(delivery_tag=1, requeue=True))
    t.ask(Basic.Get(queue=own))
    t.say(Basic.Reject(delivery_tag=2, requeue=True))
    t.ask(Basic.Get(queue=own))


@scenario
def quorum_global_prefetch(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own, durable=True, arguments={"x-queue-type": "quorum"}))
    t.ask(Basic.Qos(prefetch_count=5, global_=True))
    t.ask(Basic.Consume(queue=own, consumer_tag="c"))


@scenario
def quorum_exclusive_consumer(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own, durable=True, arguments={"x-queue-type": "quorum"}))
    t.ask(Basic.Consume(queue=own, consumer_tag="c", exclusive=True))


def _stream(t: Talk, own: str, messages: int = 5) -> None:
    t.ask(Queue.Declare(queue=own, durable=True, arguments={"x-queue-type": "stream"}))
    t.ask(Confirm.Select())
    for number in range(messages):
        t.publish("", own, b"%d" % number, headers={"n": number})
    t.confirmed(messages)


@scenario
def stream_needs_prefetch(t: Talk, connect: Connect, own: str) -> None:
    _stream(t, own)
    t.ask(Basic.Consume(queue=own, consumer_tag="c"))


@scenario
def stream_global_prefetch(t: Talk, connect: Connect, own: str) -> None:
    _stream(t, own)
    t.ask(Basic.Qos(prefetch_count=5, global_=True))
    t.ask(Basic.Consume(queue=own, consumer_tag="c"))


@scenario
def stream_both_prefetches(t: Talk, connect: Connect, own: str) -> None:
    _stream(t, own)
    t.ask(Basic.Qos(prefetch_count=5))
    t.ask(Basic.Qos(prefetch_count=5, global_=True))
    t.ask(Basic.Consume(queue=own, consumer_tag="c", arguments={"x-stream-offset": "first"}))
    t.rest()


@scenario
def stream_no_ack(t: Talk, connect: Connect, own: str) -> None:
    _stream(t, own)
    t.ask(Basic.Qos(prefetch_count=5))
    t.ask(Basic.Consume(queue=own, consumer_tag="c", no_ack=True))


@scenario
def stream_exclusive_consumer(t: Talk, connect: Connect, own: str) -> None:
    _stream(t, own)
    t.ask(Basic.Qos(prefetch_count=5))
    t.ask(Basic.Consume(queue=own, consumer_tag="c", exclusive=True))


def _offset(offset: Any) -> Scenario:
    def play(t: Talk, connect: Connect, own: str) -> None:
        _stream(t, own)
        t.ask(Basic.Qos(prefetch_count=20))
        arguments = {} if offset is Ellipsis else {"x-stream-offset": offset}
        t.ask(Basic.Consume(queue=own, consumer_tag="c", arguments=arguments))
        t.publish("", own, b"late")
        t.confirmed(6)
        t.rest()

    return play


for _label, _value in {
    "none": Ellipsis, "first": "first", "next": "next", "number": 3, "beyond": 100, "negative": -5,
    "interval": "1h", "interval_bad": "1x",
    "past": datetime(2020, 1, 1, tzinfo=UTC), "future": datetime(2035, 1, 1, tzinfo=UTC),
}.items():  # fmt: skip
    SCENARIOS[f"stream_offset_{_label}"] = _offset(_value)


@scenario
def stream_count(t: Talk, connect: Connect, own: str) -> None:
    _stream(t, own)
    t.until(own, 5)
    t.ask(Basic.Qos(prefetch_count=20))
    t.ask(Basic.Consume(queue=own, consumer_tag="c", arguments={"x-stream-offset": "first"}))
    t.hear(5)
    t.say(Basic.Ack(delivery_tag=5, multiple=True))
    t.ask(Basic.Cancel(consumer_tag="c"))
    t.ask(Queue.Delete(queue=own))


@scenario
def stream_reject(t: Talk, connect: Connect, own: str) -> None:
    _stream(t, own, 2)
    t.ask(Basic.Qos(prefetch_count=2))
    t.ask(Basic.Consume(queue=own, consumer_tag="c", arguments={"x-stream-offset": "first"}))
    t.hear(2)
    t.say(Basic.Nack(delivery_tag=1, requeue=True))
    t.say(Basic.Reject(delivery_tag=2, requeue=False))
    t.publish("", own, b"more")
    t.rest()


@scenario
def direct_reply_to(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own))
    t.ask(Basic.Consume(queue="amq.rabbitmq.reply-to", consumer_tag="r", no_ack=True))
    t.publish("", own, b"question", reply_to="amq.rabbitmq.reply-to", correlation_id="7")
    t.until(own, 1)
    server = connect()
    server.say(Basic.Get(queue=own, no_ack=True))
    got = server.read(5)
    assert got is not None
    reply = got[2].reply_to
    # Written by hand: pamqp does not send a name like that.
    name = reply.encode()
    passive = b"\0\x32\0\x0a\0\0%c%b\x01\0\0\0\0" % (len(name), name)
    server.write(b"\x01\0\x01%b%b\xce" % (len(passive).to_bytes(4, "big"), passive))
    server.answer()
    server.publish("", reply, b"answer", correlation_id="7", mandatory=True)
    t.hear(1)
    t.ask(Basic.Cancel(consumer_tag="r"))
    server.publish("", reply, b"late", mandatory=True)
    server.hear(1)
    t.deliveries += [each[:3] for each in server.deliveries]  # type: ignore[index]
    t.answers += server.answers


@scenario
def direct_reply_without_consumer(t: Talk, connect: Connect, own: str) -> None:
    t.publish("", own, reply_to="amq.rabbitmq.reply-to")
    t.answer()


@scenario
def transactions(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own))
    t.publish("", own, b"0")
    other = connect()
    t.ask(Tx.Select())
    t.publish("", own, b"1")
    other.ask(Queue.Declare(queue=own, passive=True))
    t.ask(Basic.Get(queue=own))
    t.say(Basic.Ack(delivery_tag=1))
    t.ask(Tx.Rollback())
    t.ask(Queue.Declare(queue=own, passive=True))
    t.publish("", own, b"2")
    t.say(Basic.Ack(delivery_tag=1))
    t.ask(Tx.Commit())
    t.ask(Queue.Declare(queue=own, passive=True))
    t.ask(Basic.Get(queue=own))
    t.answers += other.answers


@scenario
def transaction_with_mandatory(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Tx.Select())
    t.publish("", own, mandatory=True)
    t.rest()
    t.ask(Tx.Commit())
    t.rest()


@scenario
def transaction_to_missing_exchange(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Tx.Select())
    t.publish("e_nothing", own)
    t.rest()


@scenario
def transaction_ends_with_channel(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own))
    t.ask(Tx.Select())
    t.publish("", own)
    t.ask(Channel.Close(200, "", 0, 0))
    t.ask(Channel.Open())
    t.ask(Queue.Declare(queue=own, passive=True))


@scenario
def ack_in_rolled_back_transaction(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own))
    t.publish("", own, b"0")
    t.ask(Tx.Select())
    t.ask(Basic.Get(queue=own))
    t.say(Basic.Ack(delivery_tag=1))
    t.say(Basic.Ack(delivery_tag=1))
    t.rest()


@scenario
def nack_to_dead_letters_in_transaction(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=f"{own}-dead"))
    t.ask(
        Queue.Declare(
            queue=own,
            arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": f"{own}-dead"},
        )
    )
    t.publish("", own, b"0")
    t.ask(Tx.Select())
    t.ask(Basic.Get(queue=own))
    t.say(Basic.Nack(delivery_tag=1, requeue=False))
    t.ask(Queue.Declare(queue=f"{own}-dead", passive=True))
    t.ask(Tx.Commit())
    t.rest()
    t.ask(Queue.Declare(queue=f"{own}-dead", passive=True))


@scenario
def queue_ttl(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own, arguments={"x-expires": 100}))
    t.ask(Queue.Declare(queue=own, passive=True))
    deadline = time.monotonic() + 5
    other = connect()
    while not other.deliveries and time.monotonic() < deadline:
        other.publish("", own, mandatory=True)  # no use of the queue; comes back once it is gone
        other.rest(0.02)
    try:
        other.ask(Queue.Declare(queue=own, passive=True))
    finally:
        t.answers += other.answers


@scenario
def all_properties(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own))
    t.publish(
        "", own, b"body", content_type="text/plain", content_encoding="utf-8", delivery_mode=2,
        priority=7, correlation_id="c", reply_to="r", expiration="100000", message_id="m",
        timestamp=datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC), message_type="t", user_id="guest",
        headers={"text": "ü", "int": 5, "big": 2**40, "negative": -7, "true": True, "float": 1.5, "none": None,
                 "bytes": bytearray(b"\xff\x00"), "time": datetime(2024, 1, 1, tzinfo=UTC), "list": [1, "a", {"b": [True]}],
                 "table": {"x": {"y": "z"}}},
    )  # fmt: skip
    t.ask(Basic.Get(queue=own, no_ack=True))


@scenario
def large_body(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own))
    t.publish("", own, bytes(range(256)) * 2000)
    t.ask(Basic.Get(queue=own, no_ack=True))


@scenario
def empty_body(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own))
    t.publish("", own, b"")
    t.ask(Basic.Get(queue=own, no_ack=True))


@scenario
def small_frames(t: Talk, connect: Connect, own: str) -> None:
    small = connect(tune=Connection.TuneOk(10, 4096, 0))
    small.ask(Queue.Declare(queue=own))
    small.publish("", own, b"y" * 10_000)
    small.ask(Basic.Get(queue=own, no_ack=True))
    t.answers += small.answers


for _label, _tune in {
    "frame_small": Connection.TuneOk(10, 1000, 0), "frame_large": Connection.TuneOk(10, 10_000_000, 0),
    "frame_unlimited": Connection.TuneOk(10, 0, 0), "channels_many": Connection.TuneOk(65535, 131072, 0),
    "channels_unlimited": Connection.TuneOk(0, 131072, 0),
}.items():  # fmt: skip

    def _tuned(t: Talk, connect: Connect, own: str, tune: Any = _tune) -> None:
        try:
            other = connect(tune=tune, heard=t)
        except ClosedError:
            return
        other.ask(Queue.Declare(queue=own))

    SCENARIOS[f"tune_{_label}"] = _tuned


@scenario
def channel_beyond_max(t: Talk, connect: Connect, own: str) -> None:
    other = connect(tune=Connection.TuneOk(3, 131072, 0))
    for channel in (2, 3, 4):
        other.say(Channel.Open(), channel)
        other.answer()
    t.answers += other.answers


@scenario
def too_many_channels(t: Talk, connect: Connect, own: str) -> None:
    other = connect(tune=Connection.TuneOk(2, 131072, 0), heard=t)
    other.ask(Channel.Open(), 2)
    other.ask(Channel.Open(), 3)


@scenario
def wrong_password(t: Talk, connect: Connect, own: str) -> None:
    connect(password="wrong", heard=t)


@scenario
def wrong_password_of_simple_client(t: Talk, connect: Connect, own: str) -> None:
    connect(password="wrong", capabilities={}, heard=t)


@scenario
def wrong_vhost(t: Talk, connect: Connect, own: str) -> None:
    connect(vhost="/nope", heard=t)


@scenario
def method_on_closed_channel(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own), 5)


@scenario
def channel_open_twice(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Channel.Open())


@scenario
def channel_zero(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own), 0)


@scenario
def channel_after_error(t: Talk, connect: Connect, own: str) -> None:
    try:
        t.ask(Queue.Declare(queue=own, passive=True))
    except ClosedError:
        t.ask(Channel.Open())
    t.ask(Queue.Declare(queue=own))


@scenario
def unacked_after_channel_error(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own))
    t.publish("", own)
    t.ask(Basic.Get(queue=own))
    try:
        t.ask(Queue.Declare(queue="q_missing", passive=True))
    except ClosedError:
        t.ask(Channel.Open())
    t.rest()
    t.ask(Basic.Get(queue=own))


def _publish_in_frames_of(t: Talk, own: str, size: int) -> None:
    """Publish a body in two frames, the first of which has a payload of `size` bytes."""
    from pamqp import body, frame, header

    t.ask(Queue.Declare(queue=own))
    t.say(Basic.Publish(exchange="", routing_key=own))
    t.write(frame.marshal(header.ContentHeader(0, size + 1, Basic.Properties()), 1))
    for part in (bytes(size), b"x"):
        t.write(frame.marshal(body.ContentBody(part), 1))
    t.until(own, 1)


@scenario
def a_payload_as_large_as_a_frame(t: Talk, connect: Connect, own: str) -> None:
    _publish_in_frames_of(t, own, 131_072)


@scenario
def a_payload_larger_than_a_frame(t: Talk, connect: Connect, own: str) -> None:
    _publish_in_frames_of(t, own, 131_073)


def _raw(data: bytes) -> Scenario:
    def play(t: Talk, connect: Connect, own: str) -> None:
        t.write(data)
        t.answer()

    return play


for _label, _data in {
    "unknown_frame_type": b"\x07\x00\x01\x00\x00\x00\x04abcd\xce",
    "bad_frame_end": b"\x01\x00\x01\x00\x00\x00\x04\x00\x14\x00\x0a\x00",
    "frame_too_large": b"\x01\x00\x01\x7f\xff\xff\xff" + b"\x00" * 32,
    "unknown_class": b"\x01\x00\x01\x00\x00\x00\x04\x00\x99\x00\x0a\xce",
    "unknown_method": b"\x01\x00\x01\x00\x00\x00\x04\x00\x32\x00\x99\xce",
    "short_method": b"\x01\x00\x01\x00\x00\x00\x05\x00\x32\x00\x0a\x00\xce",
    "empty_method": b"\x01\x00\x01\x00\x00\x00\x00\xce",
    "body_without_method": b"\x03\x00\x01\x00\x00\x00\x04abcd\xce",
    "header_without_method": b"\x02\x00\x01\x00\x00\x00\x0e\x00\x3c\x00\x00" + b"\x00" * 10 + b"\xce",
    "heartbeat": b"\x08\x00\x00\x00\x00\x00\x00\xce\x01\x00\x01\x00\x00\x00\x05\x00\x14\x00\x14\x01\xce",
    "heartbeat_on_channel": b"\x08\x00\x01\x00\x00\x00\x00\xce\x01\x00\x01\x00\x00\x00\x05\x00\x14\x00\x14\x01\xce",
    "heartbeat_with_payload": b"\x08\x00\x00\x00\x00\x00\x01a\xce\x01\x00\x01\x00\x00\x00\x05\x00\x14\x00\x14\x01\xce",
    "access_request": b"\x01\x00\x01\x00\x00\x00\x07\x00\x1e\x00\x0a\x01/\x00\xce",
    "basic_qos_trailing": b"\x01\x00\x01\x00\x00\x00\x0c\x00\x3c\x00\x0a\x00\x00\x00\x00\x00\x01\x00\x00\xce",
}.items():  # fmt: skip
    SCENARIOS[f"raw_{_label}"] = _raw(_data)


@scenario
def raw_method_within_content(t: Talk, connect: Connect, own: str) -> None:
    t.say(Basic.Publish(exchange="", routing_key=own))
    t.ask(Queue.Declare(queue=own))


@scenario
def raw_method_within_body(t: Talk, connect: Connect, own: str) -> None:
    from pamqp import frame, header

    t.say(Basic.Publish(exchange="", routing_key=own))
    t.write(frame.marshal(header.ContentHeader(0, 10, Basic.Properties()), 1))
    t.ask(Queue.Declare(queue=own))


@scenario
def raw_body_too_long(t: Talk, connect: Connect, own: str) -> None:
    from pamqp import body, frame, header

    t.say(Basic.Publish(exchange="", routing_key=own))
    t.write(frame.marshal(header.ContentHeader(0, 2, Basic.Properties()), 1))
    t.write(frame.marshal(body.ContentBody(b"12345"), 1))
    t.answer()


@scenario
def raw_bad_properties(t: Talk, connect: Connect, own: str) -> None:
    t.say(Basic.Publish(exchange="", routing_key=own))
    t.write(
        b"\x02\x00\x01\x00\x00\x00\x10\x00\x3c\x00\x00"
        + b"\x00" * 8
        + b"\x80\x00"
        + b"\x09a"
        + b"\xce"
    )
    t.answer()


for _label, _data in {
    "wrong_protocol": b"AMQP\x00\x00\x08\x00", "http": b"GET / HTTP/1.0\r\n\r\n", "amqp_1": b"AMQP\x00\x01\x00\x00",
    "amqp_sasl": b"AMQP\x03\x01\x00\x00", "amqp_8": b"AMQP\x01\x01\x08\x00",
}.items():  # fmt: skip

    def _header(t: Talk, connect: Connect, own: str, data: bytes = _data) -> None:
        other = connect(open_=False, heard=t)
        other.write(data)
        other.answer()
        other.answer()

    SCENARIOS[f"header_{_label}"] = _header


@scenario
def unknown_mechanism(t: Talk, connect: Connect, own: str) -> None:
    from pamqp.header import ProtocolHeader

    other = connect(open_=False, heard=t)
    other.say(ProtocolHeader())
    other.expect("Connection.Start")
    other.ask(
        Connection.StartOk({"capabilities": {"authentication_failure_close": True}}, "MAGIC", "x")
    )


@scenario
def malformed_plain(t: Talk, connect: Connect, own: str) -> None:
    from pamqp.header import ProtocolHeader

    other = connect(open_=False, heard=t)
    other.say(ProtocolHeader())
    other.expect("Connection.Start")
    other.ask(
        Connection.StartOk({"capabilities": {"authentication_failure_close": True}}, "PLAIN", "x")
    )


@scenario
def method_before_open(t: Talk, connect: Connect, own: str) -> None:
    from pamqp.header import ProtocolHeader

    other = connect(open_=False, heard=t)
    other.say(ProtocolHeader())
    other.expect("Connection.Start")
    other.ask(Channel.Open(), 1)


@scenario
def no_wait_methods(t: Talk, connect: Connect, own: str) -> None:
    t.say(Queue.Declare(queue=own, nowait=True))
    t.say(Exchange.Declare(exchange=own, nowait=True))
    t.say(Queue.Bind(queue=own, exchange=own, routing_key="k", nowait=True))
    t.publish(own, "k")
    t.say(Confirm.Select(nowait=True))
    t.say(Basic.Consume(queue=own, consumer_tag="c", nowait=True))
    t.hear(1)
    t.say(Basic.Cancel(consumer_tag="c", nowait=True))
    t.ask(Queue.Declare(queue=own, passive=True))
    t.say(Queue.Purge(queue=own, nowait=True))
    t.say(Queue.Delete(queue=own, nowait=True))
    t.ask(Queue.Declare(queue=own, passive=True))


@scenario
def queue_declare_no_wait_fails(t: Talk, connect: Connect, own: str) -> None:
    t.say(Queue.Declare(queue=own, passive=True, nowait=True))
    t.answer()


@scenario
def consume_no_local(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Queue.Declare(queue=own))
    t.ask(Basic.Consume(queue=own, consumer_tag="c", no_local=True, no_ack=True))
    t.publish("", own)
    t.hear(1)


@scenario
def channels_are_apart(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Channel.Open(), 2)
    t.ask(Queue.Declare(queue=own), 2)
    t.publish("", own)
    t.until(own, 1)
    t.ask(Basic.Get(queue=own), 2)
    t.ask(Basic.Ack(delivery_tag=1), 1)


@scenario
def interleaved_contents(t: Talk, connect: Connect, own: str) -> None:
    from pamqp import body, frame, header

    t.ask(Channel.Open(), 2)
    t.ask(Queue.Declare(queue=own))
    for channel in (1, 2):
        t.say(Basic.Publish(exchange="", routing_key=own), channel)
    for channel in (1, 2):
        t.write(frame.marshal(header.ContentHeader(0, 4, Basic.Properties()), channel))
    for part in (b"ab", b"cd"):
        for channel in (2, 1):
            t.write(frame.marshal(body.ContentBody(part), channel))
    t.until(own, 2)
    t.ask(Basic.Get(queue=own, no_ack=True))


@scenario
def durable_queue_unbound_by_delete(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Exchange.Declare(exchange=own, durable=True))
    t.ask(Queue.Declare(queue=own, durable=True))
    t.ask(Queue.Bind(queue=own, exchange=own, routing_key="k"))
    t.ask(Queue.Delete(queue=own))
    t.ask(Queue.Declare(queue=own, durable=True))
    t.publish(own, "k", mandatory=True)
    t.hear(1)


@scenario
def publish_to_trace(t: Talk, connect: Connect, own: str) -> None:
    t.publish("amq.rabbitmq.trace", "k")
    t.answer()


@scenario
def publish_to_log(t: Talk, connect: Connect, own: str) -> None:
    t.ask(Exchange.Declare(exchange="amq.rabbitmq.log", passive=True))


@scenario
def begins_as_0_9(t: Talk, connect: Connect, own: str) -> None:
    other = connect(open_=False, heard=t)
    other.write(b"AMQP\x01\x01\x00\x09")
    start = other.expect("Connection.Start")
    t.answers.append((start.version_major, start.version_minor))
    other.say(Connection.StartOk({}, "PLAIN", "\0guest\0guest"))
    other.answer()


@scenario
def heartbeats(t: Talk, connect: Connect, own: str) -> None:
    other = connect(tune=Connection.TuneOk(10, 131072, 1))
    other.answer()
    t.answers += other.answers


@scenario
def missed_heartbeats(t: Talk, connect: Connect, own: str) -> None:
    other = connect(tune=Connection.TuneOk(10, 131072, 1))
    try:
        for _ in range(20):
            other.answer()
    finally:
        t.answers.append(other.answers[-1])
