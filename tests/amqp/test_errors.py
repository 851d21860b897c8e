"""What RabbitMQ 3.10.8 answers to provocations, word for word."""

from __future__ import annotations

import contextlib
import re
import socket
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pika  # type: ignore[import-untyped]
import pika.exceptions  # type: ignore[import-untyped]
import pytest

from hubbub.testing.hub import ServedHub
from hubbub_amqp import methods as m
from hubbub_amqp.encode import encode_method_frame
from hubbub_amqp.wire import Table

from .vectors import HEADER
from .wire import Wire

Answer = tuple[str, int, str]
NAME = "probe"


@dataclass
class Probe:
    """One provocation's client: `name` is of its own."""

    parameters: pika.ConnectionParameters
    connection: pika.BlockingConnection
    channel: Any
    name: str

    def other(self) -> Any:
        """A channel of another connection, which ends with the test."""
        self._other = pika.BlockingConnection(self.parameters)
        return self._other.channel()

    def queue(self, **arguments: Any) -> None:
        self.channel.queue_declare(self.name, **arguments)


@pytest.fixture
def probe(parameters: pika.ConnectionParameters) -> Iterator[Probe]:
    connection = pika.BlockingConnection(parameters)
    probe = Probe(parameters, connection, connection.channel(), f"probe-{uuid.uuid4().hex[:6]}")
    yield probe
    for each in (connection, getattr(probe, "_other", connection)):
        if each.is_open:
            each.close()


def answer_to(probe: Probe, provoke: Callable[[Probe], object]) -> Answer | None:
    """Provoke, and say what was closed. pika tells whoever calls next, so it is asked itself."""
    answers: list[Answer] = []

    def note(kind: str, _: object, reason: Any) -> None:
        if isinstance(reason, pika.exceptions.ChannelClosedByBroker) or kind == "connection":
            answers.append((kind, reason.reply_code, reason.reply_text))

    probe.channel._impl.add_on_close_callback(partial(note, "channel"))
    probe.connection._impl.add_on_close_callback(partial(note, "connection"))
    with contextlib.suppress(pika.exceptions.AMQPError):
        provoke(probe)
        probe.channel.queue_declare("", exclusive=True)  # whatever came before is answered now
    return answers[0] if answers else None


def locked(name: str) -> str:
    return (
        f"RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{name}' in vhost '/'. "
        "It could be originally declared on another connection or the exclusive property value "
        "does not match that of the original declaration."
    )


def redeclare_argument(p: Probe) -> None:
    p.queue()
    p.queue(arguments={"x-max-length": 3})


def redeclare_durable(p: Probe) -> None:
    p.queue()
    p.queue(durable=True)


def redeclare_exclusive(p: Probe) -> None:
    p.queue()
    p.queue(exclusive=True)


def redeclare_exchange(p: Probe) -> None:
    p.channel.exchange_declare(p.name, "direct")
    p.channel.exchange_declare(p.name, "fanout")


def bind_missing_queue(p: Probe) -> None:
    p.channel.queue_bind("no-queue", "amq.direct", "k")


def bind_missing_exchange(p: Probe) -> None:
    p.queue()
    p.channel.queue_bind(p.name, "no-exchange", "k")


def bind_default(p: Probe) -> None:
    p.queue()
    p.channel.queue_bind(p.name, "", "k")


def unbind_nothing(p: Probe) -> None:
    p.queue()
    p.channel.queue_unbind(p.name, "amq.direct", "nothing")


def delete_not_empty(p: Probe) -> None:
    p.queue()
    p.channel.basic_publish("", p.name, b"x")
    p.channel.queue_delete(p.name, if_empty=True)


def delete_used_exchange(p: Probe) -> None:
    p.channel.exchange_declare(p.name, "direct")
    p.queue()
    p.channel.queue_bind(p.name, p.name, "k")
    p.channel.exchange_delete(p.name, if_unused=True)


def others_exclusive(p: Probe) -> None:
    p.other().queue_declare(p.name, exclusive=True)
    p.channel.queue_declare(p.name, passive=True)


def second_exclusive_consumer(p: Probe) -> None:
    p.queue()
    p.other().basic_consume(p.name, lambda *_: None, exclusive=True)
    p.channel.basic_consume(p.name, lambda *_: None)


def ack_twice(p: Probe) -> None:
    p.queue()
    p.channel.basic_publish("", p.name, b"x")
    p.channel.basic_get(p.name)
    p.channel.basic_ack(1)
    p.channel.basic_ack(1)


def publish_immediate(p: Probe) -> None:
    p.channel._impl._send_method(
        pika.spec.Basic.Publish(exchange="", routing_key="x", immediate=True),
        (pika.BasicProperties(), b"x"),
    )


def publish_internal(p: Probe) -> None:
    p.channel.exchange_declare(p.name, "fanout", internal=True)
    p.channel.basic_publish(p.name, "", b"x")


def publish_user(p: Probe) -> None:
    p.channel.basic_publish("", "x", b"x", pika.BasicProperties(user_id="bob"))


def publish_expiration(p: Probe) -> None:
    p.channel.basic_publish("", "x", b"x", pika.BasicProperties(expiration="abc"))


def recover_no_requeue(p: Probe) -> None:
    p.channel._impl._send_method(pika.spec.Basic.Recover(requeue=False))


def tx_after_confirm(p: Probe) -> None:
    p.channel.confirm_delivery()
    p.channel.tx_select()


def confirm_after_tx(p: Probe) -> None:
    p.channel.tx_select()
    p.channel.confirm_delivery()


def argument(**arguments: Any) -> Callable[[Probe], None]:
    named = {name.replace("_", "-"): value for name, value in arguments.items()}
    return lambda p: p.channel.queue_declare("", arguments=named)


def invalid(argument: str, reason: str) -> Answer:
    return (
        "channel",
        406,
        f"PRECONDITION_FAILED - invalid arg '{argument}' for queue '{NAME}' in vhost '/': {reason}",
    )


DEFAULT = "ACCESS_REFUSED - operation not permitted on the default exchange"
PROVOCATIONS: dict[str, tuple[Callable[[Probe], object], Answer | None]] = {
    "passive declare of a missing queue": (
        lambda p: p.channel.queue_declare("no-queue", passive=True),
        ("channel", 404, "NOT_FOUND - no queue 'no-queue' in vhost '/'")),
    "passive declare of a missing exchange": (
        lambda p: p.channel.exchange_declare("no-exchange", passive=True),
        ("channel", 404, "NOT_FOUND - no exchange 'no-exchange' in vhost '/'")),
    "redeclare queue durable differs": (
        redeclare_durable,
        ("channel", 406, (f"PRECONDITION_FAILED - inequivalent arg 'durable' for queue '{NAME}' in "
         "vhost '/': received 'true' but current is 'false'"))),
    "redeclare queue argument differs": (
        redeclare_argument,
        ("channel", 406, (f"PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue "
         f"'{NAME}' in vhost '/': received the value '3' of type 'signedint' but current is "
         "none"))),
    "redeclare shared queue as exclusive": (
        redeclare_exclusive, ("channel", 405, locked(NAME))),
    "redeclare exchange type differs": (
        redeclare_exchange,
        ("channel", 406, (f"PRECONDITION_FAILED - inequivalent arg 'type' for exchange '{NAME}' in "
         "vhost '/': received 'fanout' but current is 'direct'"))),
    "unknown exchange type": (
        lambda p: p.channel.exchange_declare(p.name, "nope"),
        ("connection", 503, "COMMAND_INVALID - unknown exchange type 'nope'")),
    "declare of amq.* exchange": (
        lambda p: p.channel.exchange_declare("amq.zz", "direct"),
        ("channel", 403,
         "ACCESS_REFUSED - exchange name 'amq.zz' contains reserved prefix 'amq.*'")),
    "declare of amq.* queue": (
        lambda p: p.channel.queue_declare("amq.zz"),
        ("channel", 403,
         "ACCESS_REFUSED - queue name 'amq.zz' contains reserved prefix 'amq.*'")),
    "declare of the default exchange": (
        lambda p: p.channel.exchange_declare("", "direct"), ("channel", 403, DEFAULT)),
    "delete of the default exchange": (
        lambda p: p.channel.exchange_delete(""), ("channel", 403, DEFAULT)),
    "bind to the default exchange": (bind_default, ("channel", 403, DEFAULT)),
    "bind a missing queue": (
        bind_missing_queue, ("channel", 404, "NOT_FOUND - no queue 'no-queue' in vhost '/'")),
    "bind to a missing exchange": (
        bind_missing_exchange,
        ("channel", 404, "NOT_FOUND - no exchange 'no-exchange' in vhost '/'")),
    "unbind what is not bound": (unbind_nothing, None),
    "delete a missing queue": (lambda p: p.channel.queue_delete("no-queue"), None),
    "delete queue if-empty, not empty": (
        delete_not_empty,
        ("channel", 406, f"PRECONDITION_FAILED - queue '{NAME}' in vhost '/' not empty")),
    "delete exchange if-unused, used": (
        delete_used_exchange,
        ("channel", 406, f"PRECONDITION_FAILED - exchange '{NAME}' in vhost '/' in use")),
    "other connection's exclusive queue": (others_exclusive, ("channel", 405, locked(NAME))),
    "consume from a missing queue": (
        lambda p: p.channel.basic_consume("no-queue", lambda *_: None),
        ("channel", 404, "NOT_FOUND - no queue 'no-queue' in vhost '/'")),
    "second consumer on exclusive consume": (
        second_exclusive_consumer,
        ("channel", 403, f"ACCESS_REFUSED - queue '{NAME}' in vhost '/' in exclusive use")),
    "ack of an unknown tag": (
        lambda p: p.channel.basic_ack(99),
        ("channel", 406, "PRECONDITION_FAILED - unknown delivery tag 99")),
    "ack twice": (
        ack_twice, ("channel", 406, "PRECONDITION_FAILED - unknown delivery tag 1")),
    "publish to a missing exchange": (
        lambda p: p.channel.basic_publish("no-exchange", "", b"x"),
        ("channel", 404, "NOT_FOUND - no exchange 'no-exchange' in vhost '/'")),
    "publish immediate=true": (
        publish_immediate, ("connection", 540, "NOT_IMPLEMENTED - immediate=true")),
    "publish with a wrong user-id": (
        publish_user,
        ("channel", 406, ("PRECONDITION_FAILED - user_id property set to 'bob' but authenticated "
         "user was 'guest'"))),
    "publish with expiration='abc'": (
        publish_expiration,
        ("channel", 406, "PRECONDITION_FAILED - invalid expiration 'abc': no_integer")),
    "publish to an internal exchange": (
        publish_internal,
        ("channel", 403, (f"ACCESS_REFUSED - cannot publish to internal exchange '{NAME}' in "
         "vhost '/'"))),
    "qos prefetch-size != 0": (
        lambda p: p.channel.basic_qos(prefetch_size=10),
        ("connection", 540, "NOT_IMPLEMENTED - prefetch_size!=0 (10)")),
    "recover requeue=false": (
        recover_no_requeue, ("connection", 540, "NOT_IMPLEMENTED - requeue=false")),
    "tx.select after confirm.select": (
        tx_after_confirm,
        ("channel", 406, "PRECONDITION_FAILED - cannot switch from confirm to tx mode")),
    "confirm.select after tx.select": (
        confirm_after_tx,
        ("channel", 406, "PRECONDITION_FAILED - cannot switch from tx to confirm mode")),
    "tx.commit without tx.select": (
        lambda p: p.channel.tx_commit(),
        ("channel", 406, "PRECONDITION_FAILED - channel is not transactional")),
    "x-message-ttl = -1": (
        argument(x_message_ttl=-1), invalid("x-message-ttl", "{value_negative,-1}")),
    "x-message-ttl = 'a'": (
        argument(x_message_ttl="a"),
        invalid("x-message-ttl", '"expected integer, got longstr"')),
    "x-expires = 0": (argument(x_expires=0), invalid("x-expires", "{value_zero,0}")),
    "x-dead-letter-routing-key alone": (
        argument(x_dead_letter_routing_key="k"),
        invalid("x-dead-letter-routing-key", "routing_key_but_no_dlx_defined")),
    "x-max-priority = 1000": (
        argument(x_max_priority=1000), invalid("x-max-priority", "{max_value_exceeded,1000}")),
    "x-overflow = 'zz'": (
        argument(x_overflow="zz"), invalid("x-overflow", "invalid_overflow")),
    "direct-reply-to consume with acks": (
        lambda p: p.channel.basic_consume("amq.rabbitmq.reply-to", lambda *_: None),
        ("channel", 406, "PRECONDITION_FAILED - reply consumer cannot acknowledge")),
    "queue name of 255 bytes": (
        lambda p: p.channel.queue_declare("q" * 255, exclusive=True), None),
}  # fmt: skip


@pytest.mark.parametrize("name", PROVOCATIONS)
def test_provocation(probe: Probe, name: str) -> None:
    provoke, expected = PROVOCATIONS[name]
    answer = answer_to(probe, provoke)
    if answer is not None:
        # pika cuts nothing, and short strings hold 255 bytes: the longest text fits.
        text = re.sub(r"probe-\w{6}|amq\.gen-[\w-]{22}", NAME, answer[2])
        answer = (*answer[:2], text)
    assert answer == expected


# what real clients won't send


def test_the_same_consumer_tag_twice(served: ServedHub) -> None:
    wire = Wire(served.address("AMQP"))
    wire.expect(m.ConnectionOpenOk)
    wire.say(m.ChannelOpen())
    wire.expect(m.ChannelOpenOk)
    wire.say(m.QueueDeclare(0, "", False, False, True, False, False, Table()))
    wire.expect(m.QueueDeclareOk)
    for _ in range(2):
        wire.say(m.BasicConsume(0, "", "t", False, True, False, False, Table()))
    wire.expect(m.BasicConsumeOk)
    assert wire.refused() == (530, "NOT_ALLOWED - attempt to reuse consumer tag 't'")


def test_a_method_on_a_channel_that_is_not_open(served: ServedHub) -> None:
    wire = Wire(served.address("AMQP"))
    wire.expect(m.ConnectionOpenOk)
    wire.say(m.TxSelect(), 5)
    assert wire.refused() == (504, "CHANNEL_ERROR - expected 'channel.open'")


def test_a_channel_that_is_opened_twice(served: ServedHub) -> None:
    wire = Wire(served.address("AMQP"))
    wire.expect(m.ConnectionOpenOk)
    wire.say(m.ChannelOpen())
    wire.expect(m.ChannelOpenOk)
    wire.say(m.ChannelOpen())
    assert wire.refused() == (504, "CHANNEL_ERROR - second 'channel.open' seen")


def test_a_channel_number_beyond_channel_max(served: ServedHub) -> None:
    """The number of channels is bounded, not their numbers."""
    wire = Wire(served.address("AMQP"))
    wire.expect(m.ConnectionOpenOk)
    wire.say(m.ChannelOpen(), 3000)
    wire.expect(m.ChannelOpenOk)
    wire.close()


def test_a_bad_password(served: ServedHub) -> None:
    assert Wire(served.address("AMQP"), password=b"wrong").refused() == (
        403,
        (
            "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. "
            "For details see the broker logfile."
        ),
    )


def test_a_missing_virtual_host(served: ServedHub) -> None:
    assert Wire(served.address("AMQP"), vhost="/nope").refused() == (
        530,
        "NOT_ALLOWED - vhost /nope not found",
    )


def test_another_protocol(served: ServedHub) -> None:
    with socket.create_connection(served.address("AMQP"), timeout=10) as client:
        client.sendall(b"AMQP\x00\x01\x00\x00")
        assert client.recv(100) == HEADER
        assert client.recv(1) == b""


def test_nothing_is_done_behind_an_error_that_ends_the_connection(
    served: ServedHub, probe: Probe
) -> None:
    wire = Wire(served.address("AMQP"))
    wire.expect(m.ConnectionOpenOk)
    wire.say(m.ChannelOpen())
    wire.expect(m.ChannelOpenOk)
    nope = m.ExchangeDeclare(0, "x", "nope", False, False, False, False, False, Table())
    behind = m.QueueDeclare(0, probe.name, False, False, False, False, False, Table())
    wire.send(encode_method_frame(1, nope) + encode_method_frame(1, behind))
    assert wire.refused()[0] == 503
    with pytest.raises(pika.exceptions.ChannelClosedByBroker):
        probe.channel.queue_declare(probe.name, passive=True)
