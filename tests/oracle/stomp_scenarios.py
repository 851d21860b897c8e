"""What STOMP clients do to a broker, good and bad: each is played to RabbitMQ and to us."""

from __future__ import annotations

from collections.abc import Callable

from .stomp import Chat

Connect = Callable[..., Chat]
Scenario = Callable[[Chat, Connect, str], None]
SCENARIOS: dict[str, Scenario] = {}


def scenario(function: Scenario) -> Scenario:
    """Add a scenario."""
    SCENARIOS[function.__name__] = function
    return function


Frame = tuple[str, dict[str, str]]


def provoke(name: str, *frames: Frame, version: str = "1.2") -> None:
    """Add a scenario that sends frames and hears what comes; `OWN` is a name of its own."""

    def play(c: Chat, connect: Connect, own: str) -> None:
        chat = c if version == "1.2" else connect(version=version)
        for command, headers in frames:
            chat.say(command, {key: value.replace("OWN", own) for key, value in headers.items()})
        chat.rest()
        if chat is not c:
            c.heard += chat.heard

    SCENARIOS[name] = play


def connecting(name: str, *lines: str, command: str = "CONNECT") -> None:
    """Add a scenario that begins a connection."""

    def play(c: Chat, connect: Connect, own: str) -> None:
        chat = connect(version=None)
        chat.write("\n".join([command, *lines]).encode() + b"\n\n\0")
        chat.hear()
        chat.rest()
        c.heard += chat.heard

    SCENARIOS[f"connect_{name}"] = play


connecting("plain")
connecting("stomp", command="STOMP")
connecting("1_0", "accept-version:1.0")
connecting("1_1", "accept-version:1.1")
connecting("all", "accept-version:1.0,1.1,1.2")
connecting("with_unknown", "accept-version:1.1,9.9")
connecting("unknown", "accept-version:9.9")
connecting("heart_beats", "accept-version:1.2", "heart-beat:5000,7000")
connecting("heart_beats_none", "accept-version:1.2", "heart-beat:0,0")
connecting("guest", "accept-version:1.2", "login:guest", "passcode:guest")
connecting("bad_password", "accept-version:1.2", "login:guest", "passcode:nope")
connecting("unknown_user", "accept-version:1.2", "login:who", "passcode:nope")
connecting("unknown_host", "accept-version:1.2", "host:nope")
connecting("lower_case", "accept-version:1.2", command="connect")
connecting("send_first", "destination:/queue/a", command="SEND")
connecting("request_id", "accept-version:1.2", "request-id:7")

_FRAMES: dict[str, list[Frame]] = {
    "unknown_command": [("FOO", {})],
    "unknown_command_receipt": [("FOO", {"receipt": "r"})],
    "lower_case_send": [("send", {"destination": "/queue/OWN"})],
    "send_nowhere": [("SEND", {})],
    "send_nowhere_receipt": [("SEND", {"receipt": "r"})],
    "send_unknown": [("SEND", {"destination": "/nope/a"})],
    "send_empty": [("SEND", {"destination": ""})],
    "send_queue_empty": [("SEND", {"destination": "/queue/"})],
    "send_queue_only": [("SEND", {"destination": "/queue"})],
    "send_topic_empty": [("SEND", {"destination": "/topic/"})],
    "send_exchange_empty": [("SEND", {"destination": "/exchange/"})],
    "send_exchange_only": [("SEND", {"destination": "/exchange"})],
    "send_amq_queue_missing": [("SEND", {"destination": "/amq/queue/OWN", "receipt": "r"})],
    "send_queue_slash": [("SEND", {"destination": "/queue/bah/baz"})],
    "send_topic_slash": [("SEND", {"destination": "/topic/bah/baz"})],
    "send_exchange_slash": [("SEND", {"destination": "/exchange/bah/baz/boo"})],
    "send_exchange_default": [("SEND", {"destination": "/exchange//foo"})],
    "send_exchange_missing": [("SEND", {"destination": "/exchange/OWN/k"})],
    "send_message_id": [("SEND", {"destination": "/queue/OWN", "message-id": "1"})],
    "send_temp_queue": [("SEND", {"destination": "/temp-queue/OWN"})],
    "send_receipt": [("SEND", {"destination": "/queue/OWN", "receipt": "r"})],
    "send_persistent": [
        ("SEND", {"destination": "/queue/OWN", "receipt": "r", "persistent": "true"})
    ],
    "send_unknown_transaction": [("SEND", {"destination": "/queue/OWN", "transaction": "t"})],
    "subscribe_nowhere": [("SUBSCRIBE", {"id": "1"})],
    "subscribe_unknown": [("SUBSCRIBE", {"id": "1", "destination": "/nope/a"})],
    "subscribe_queue_empty": [("SUBSCRIBE", {"id": "1", "destination": "/queue/"})],
    "subscribe_temp_queue": [("SUBSCRIBE", {"id": "1", "destination": "/temp-queue/OWN"})],
    "subscribe_amq_queue_missing": [
        ("SUBSCRIBE", {"id": "1", "destination": "/amq/queue/OWN", "receipt": "r"})
    ],
    "subscribe_receipt": [("SUBSCRIBE", {"id": "1", "destination": "/queue/OWN", "receipt": "r"})],
    "subscribe_without_id": [("SUBSCRIBE", {"destination": "/queue/OWN", "receipt": "r"})],
    "subscribe_same_id": [
        ("SUBSCRIBE", {"id": "1", "destination": "/queue/OWN"}),
        ("SUBSCRIBE", {"id": "1", "destination": "/queue/OWN-b"}),
    ],
    "subscribe_same_destination": [
        ("SUBSCRIBE", {"id": "1", "destination": "/queue/OWN", "receipt": "a"}),
        ("SUBSCRIBE", {"id": "2", "destination": "/queue/OWN", "receipt": "b"}),
    ],
    "subscribe_durable_no_id": [
        ("SUBSCRIBE", {"destination": "/topic/OWN", "durable": "true", "auto-delete": "false"})
    ],
    "subscribe_exchange_missing": [
        ("SUBSCRIBE", {"id": "1", "destination": "/exchange/OWN/k", "receipt": "r"})
    ],
    "unsubscribe_unknown": [("UNSUBSCRIBE", {"id": "9"})],
    "unsubscribe_unknown_destination": [("UNSUBSCRIBE", {"destination": "/queue/OWN"})],
    "unsubscribe_nothing": [("UNSUBSCRIBE", {})],
    "unsubscribe": [
        ("SUBSCRIBE", {"id": "1", "destination": "/queue/OWN"}),
        ("UNSUBSCRIBE", {"id": "1", "receipt": "r"}),
    ],
    "unsubscribe_by_destination": [
        ("SUBSCRIBE", {"destination": "/queue/OWN"}),
        ("UNSUBSCRIBE", {"destination": "/queue/OWN", "receipt": "r"}),
    ],
    "unsubscribe_twice": [
        ("SUBSCRIBE", {"id": "1", "destination": "/queue/OWN"}),
        ("UNSUBSCRIBE", {"id": "1", "receipt": "r"}),
        ("UNSUBSCRIBE", {"id": "1", "receipt": "s"}),
    ],
    "ack_nothing": [("ACK", {})],
    "ack_nonsense": [("ACK", {"id": "x"})],
    "nack_nothing": [("NACK", {})],
    "nack_nonsense": [("NACK", {"id": "x"})],
    "begin": [("BEGIN", {"transaction": "t", "receipt": "r"})],
    "begin_nothing": [("BEGIN", {})],
    "commit_nothing": [("COMMIT", {})],
    "commit_unknown": [("COMMIT", {"transaction": "t"})],
    "commit_empty": [
        ("BEGIN", {"transaction": "t"}),
        ("COMMIT", {"transaction": "t", "receipt": "r"}),
    ],
    "commit_twice": [
        ("BEGIN", {"transaction": "t"}),
        ("COMMIT", {"transaction": "t", "receipt": "r"}),
        ("COMMIT", {"transaction": "t"}),
    ],
    "abort": [("BEGIN", {"transaction": "t"}), ("ABORT", {"transaction": "t", "receipt": "r"})],
    "abort_nothing": [("ABORT", {})],
    "abort_unknown": [("ABORT", {"transaction": "t"})],
    "disconnect": [("DISCONNECT", {})],
    "disconnect_receipt": [("DISCONNECT", {"receipt": "r"})],
    "server_command": [("MESSAGE", {"destination": "/queue/OWN"})],
}
for label, frames in _FRAMES.items():  # fmt: skip
    provoke(label, *frames)

provoke("ack_nothing_1_1", ("ACK", {}), version="1.1")
provoke("ack_nonsense_1_1", ("ACK", {"message-id": "x", "subscription": "1"}), version="1.1")
provoke("ack_nonsense_1_0", ("ACK", {"message-id": "x"}), version="1.0")
provoke("nack_1_0", ("NACK", {"message-id": "x"}), version="1.0")


def _exchange(version: str) -> Scenario:
    def play(c: Chat, connect: Connect, own: str) -> None:
        chat = connect(version=version)
        chat.ask("SUBSCRIBE", {"id": "1", "destination": f"/queue/{own}", "ack": "client"})
        chat.say(
            "SEND",
            {
                "destination": f"/queue/{own}", "content-type": "text/plain", "foo": "bar",
                "correlation-id": "c", "reply-to": "/queue/answers", "priority": "3", "type": "t",
                "app-id": "a", "amqp-message-id": "m", "persistent": "true", "user": "me",
                "expiration": "60000", "timestamp": "12345", "content-encoding": "utf-8",
            },
            b"hello",
        )  # fmt: skip
        chat.hear()
        c.heard += chat.heard

    return play


for _version in ("1.0", "1.1", "1.2"):
    SCENARIOS[f"message_{_version}"] = _exchange(_version)


@scenario
def escapes(c: Chat, connect: Connect, own: str) -> None:
    c.ask("SUBSCRIBE", {"id": "1", "destination": f"/topic/{own}"})
    c.say("SEND", {"destination": f"/topic/{own}", "a\\cb": "c\\\\d\\ne\\rf\\cg"}, b"x")
    c.hear()


@scenario
def repeated_headers(c: Chat, connect: Connect, own: str) -> None:
    c.ask("SUBSCRIBE", {"id": "1", "destination": f"/topic/{own}"})
    c.write(f"SEND\ndestination:/topic/{own}\nfoo:1\nfoo:2\n\nx\0".encode())
    c.hear()


@scenario
def repeated_destination(c: Chat, connect: Connect, own: str) -> None:
    c.ask("SUBSCRIBE", {"id": "1", "destination": f"/topic/{own}"})
    c.write(f"SEND\ndestination:/topic/{own}\ndestination:/topic/{own}-b\n\nx\0".encode())
    c.hear()


@scenario
def header_with_colons_and_spaces(c: Chat, connect: Connect, own: str) -> None:
    c.ask("SUBSCRIBE", {"id": "1", "destination": f"/topic/{own}"})
    c.write(f"SEND\ndestination:/topic/{own}\nfoo: a:b \nempty:\n\nx\0".encode())
    c.hear()


@scenario
def carriage_returns(c: Chat, connect: Connect, own: str) -> None:
    c.ask("SUBSCRIBE", {"id": "1", "destination": f"/topic/{own}"})
    c.write(f"SEND\r\ndestination:/topic/{own}\r\nfoo:1\r\n\r\nx\0\r\n".encode())
    c.hear()


@scenario
def content_length(c: Chat, connect: Connect, own: str) -> None:
    c.ask("SUBSCRIBE", {"id": "1", "destination": f"/topic/{own}"})
    c.say("SEND", {"destination": f"/topic/{own}", "content-length": "5"}, b"a\0b\0c")
    c.say("SEND", {"destination": f"/topic/{own}"}, b"plain")
    c.say("SEND", {"destination": f"/topic/{own}", "content-length": "0"})
    c.hear(3)


@scenario
def new_lines_between_frames(c: Chat, connect: Connect, own: str) -> None:
    c.write(b"\n\n\n")
    c.ask("SUBSCRIBE", {"id": "1", "destination": f"/topic/{own}"})
    c.write(
        f"\n\nSEND\ndestination:/topic/{own}\n\nx\0\n\n\nSEND\ndestination:/topic/{own}\n\ny\0".encode()
    )
    c.hear(2)


@scenario
def client_is_cumulative(c: Chat, connect: Connect, own: str) -> None:
    c.ask("SUBSCRIBE", {"id": "1", "destination": f"/queue/{own}", "ack": "client"})
    for number in range(3):
        c.say("SEND", {"destination": f"/queue/{own}"}, b"%d" % number)
    c.hear(2)
    c.say("ACK", {"id": c.last["ack"]})
    c.hear()
    c.ask("DISCONNECT")
    other = connect()
    other.say("SUBSCRIBE", {"id": "1", "destination": f"/queue/{own}"})
    other.rest()
    c.heard += other.heard


@scenario
def client_individual(c: Chat, connect: Connect, own: str) -> None:
    c.ask("SUBSCRIBE", {"id": "1", "destination": f"/queue/{own}", "ack": "client-individual"})
    for number in range(3):
        c.say("SEND", {"destination": f"/queue/{own}"}, b"%d" % number)
    c.hear(2)
    c.say("ACK", {"id": c.last["ack"]})
    c.hear()
    c.ask("DISCONNECT")
    other = connect()
    other.say("SUBSCRIBE", {"id": "1", "destination": f"/queue/{own}"})
    other.rest()
    c.heard += other.heard


@scenario
def nack_gives_back(c: Chat, connect: Connect, own: str) -> None:
    c.ask("SUBSCRIBE", {"id": "1", "destination": f"/queue/{own}", "ack": "client-individual"})
    c.say("SEND", {"destination": f"/queue/{own}"}, b"x")
    c.hear()
    c.say("NACK", {"id": c.last["ack"]})
    c.hear()


@scenario
def nack_drops(c: Chat, connect: Connect, own: str) -> None:
    c.ask("SUBSCRIBE", {"id": "1", "destination": f"/queue/{own}", "ack": "client-individual"})
    c.say("SEND", {"destination": f"/queue/{own}"}, b"x")
    c.hear()
    c.say("NACK", {"id": c.last["ack"], "requeue": "false"})
    c.rest()


@scenario
def ack_twice(c: Chat, connect: Connect, own: str) -> None:
    c.ask("SUBSCRIBE", {"id": "1", "destination": f"/queue/{own}", "ack": "client-individual"})
    c.say("SEND", {"destination": f"/queue/{own}"}, b"x")
    c.hear()
    identifier = c.last["ack"]
    c.say("ACK", {"id": identifier})
    c.say("ACK", {"id": identifier})
    c.rest()


@scenario
def ack_of_auto(c: Chat, connect: Connect, own: str) -> None:
    c.ask("SUBSCRIBE", {"id": "1", "destination": f"/queue/{own}"})
    c.say("SEND", {"destination": f"/queue/{own}"}, b"x")
    c.hear()
    c.say("ACK", {"id": c.last["message-id"]})
    c.rest()


@scenario
def ack_receipt(c: Chat, connect: Connect, own: str) -> None:
    c.ask("SUBSCRIBE", {"id": "1", "destination": f"/queue/{own}", "ack": "client"})
    c.say("SEND", {"destination": f"/queue/{own}"}, b"x")
    c.hear()
    c.ask("ACK", {"id": c.last["ack"]})


@scenario
def prefetch(c: Chat, connect: Connect, own: str) -> None:
    for number in range(3):
        c.ask("SEND", {"destination": f"/queue/{own}"}, b"%d" % number)
    c.say(
        "SUBSCRIBE",
        {"id": "1", "destination": f"/queue/{own}", "ack": "client", "prefetch-count": "1"},
    )
    c.hear()
    c.rest()
    c.say("ACK", {"id": c.last["ack"]})
    c.hear()
    c.rest()


@scenario
def transaction(c: Chat, connect: Connect, own: str) -> None:
    c.ask("SUBSCRIBE", {"id": "1", "destination": f"/queue/{own}"})
    c.say("BEGIN", {"transaction": "t"})
    c.say("SEND", {"destination": f"/queue/{own}", "transaction": "t"}, b"1")
    c.say("SEND", {"destination": f"/queue/{own}"}, b"2")
    c.hear()
    c.rest()
    c.say("COMMIT", {"transaction": "t"})
    c.hear()


@scenario
def receipts_in_a_transaction(c: Chat, connect: Connect, own: str) -> None:
    c.say("BEGIN", {"transaction": "t"})
    for number in range(3):
        c.say("SEND", {"destination": f"/queue/{own}", "transaction": "t", "receipt": f"{number}"})
    c.rest()
    c.say("COMMIT", {"transaction": "t"})
    c.hear(3)


@scenario
def types_of_exchanges(c: Chat, connect: Connect, own: str) -> None:
    for number, (exchange, pattern) in enumerate(
        [("direct", "a.*"), ("fanout", "nothing"), ("topic", "a.*"), ("headers", "")]
    ):
        key = f"/{own}.{pattern}" if pattern else ""
        c.ask("SUBSCRIBE", {"id": str(number), "destination": f"/exchange/amq.{exchange}{key}"})
    for exchange in ("direct", "fanout", "topic"):
        c.say("SEND", {"destination": f"/exchange/amq.{exchange}/{own}.a.b"}, exchange.encode())
        c.rest()


@scenario
def leading_nuls(c: Chat, connect: Connect, own: str) -> None:
    c.write(f"\n\0SUBSCRIBE\nid:1\ndestination:/queue/{own}\nreceipt:r\n\n\0\n\0".encode())
    c.hear()


@scenario
def aborted(c: Chat, connect: Connect, own: str) -> None:
    c.ask("SUBSCRIBE", {"id": "1", "destination": f"/queue/{own}", "ack": "client"})
    c.say("SEND", {"destination": f"/queue/{own}"}, b"1")
    c.hear()
    identifier = c.last["ack"]
    c.say("BEGIN", {"transaction": "t"})
    c.say("SEND", {"destination": f"/queue/{own}", "transaction": "t"}, b"2")
    c.say("ACK", {"id": identifier, "transaction": "t"})
    c.ask("ABORT", {"transaction": "t"})
    c.rest()
    c.ask("ACK", {"id": identifier})


_TOPICS = ["a.b.c", "a.b", "a", "a.b.c.d"]


@scenario
def wildcards(c: Chat, connect: Connect, own: str) -> None:
    for number, pattern in enumerate(["a.#", "a.*", "*.*.c", "#.c", "a.b.#", "#"]):
        chat = connect()
        prefix = f"{own}{number}"
        chat.ask("SUBSCRIBE", {"id": "1", "destination": f"/topic/{prefix}.{pattern}"})
        for topic in _TOPICS:
            c.ask("SEND", {"destination": f"/topic/{prefix}.{topic}"}, topic.encode())
        chat.rest()
        c.heard += [pattern, *chat.heard]


@scenario
def exchanges(c: Chat, connect: Connect, own: str) -> None:
    c.ask("SUBSCRIBE", {"id": "1", "destination": f"/exchange/amq.direct/{own}"})
    c.ask("SUBSCRIBE", {"id": "2", "destination": "/exchange/amq.fanout"})
    c.say("SEND", {"destination": f"/exchange/amq.direct/{own}"}, b"1")
    c.hear()
    c.say("SEND", {"destination": f"/exchange/amq.direct/{own}-other"}, b"2")
    c.rest()


@scenario
def queues_are_amq_queues(c: Chat, connect: Connect, own: str) -> None:
    c.ask("SEND", {"destination": f"/queue/{own}"}, b"1")
    c.say("SUBSCRIBE", {"id": "1", "destination": f"/amq/queue/{own}"})
    c.hear()


@scenario
def escaped_slash(c: Chat, connect: Connect, own: str) -> None:
    c.ask("SEND", {"destination": f"/queue/{own}%2Fb"}, b"1")
    c.say("SUBSCRIBE", {"id": "1", "destination": f"/queue/{own}%2Fb"})
    c.hear()


@scenario
def request_and_reply(c: Chat, connect: Connect, own: str) -> None:
    server = connect()
    server.ask("SUBSCRIBE", {"id": "1", "destination": f"/queue/{own}"})
    c.say("SEND", {"destination": f"/queue/{own}", "reply-to": "/temp-queue/foo"}, b"q")
    server.hear()
    server.say("SEND", {"destination": server.last["reply-to"]}, b"a")
    c.hear()
    c.heard += server.heard


@scenario
def same_temporary_queue(c: Chat, connect: Connect, own: str) -> None:
    server = connect()
    server.ask("SUBSCRIBE", {"id": "1", "destination": f"/queue/{own}"})
    for _ in range(2):
        c.say("SEND", {"destination": f"/queue/{own}", "reply-to": "/temp-queue/foo"}, b"q")
    server.hear(2)
    c.heard += server.heard


@scenario
def durable_subscription(c: Chat, connect: Connect, own: str) -> None:
    headers = {"id": own, "destination": f"/topic/{own}", "durable": "true", "auto-delete": "false"}
    first = connect()
    first.ask("SUBSCRIBE", headers)
    first.ask("DISCONNECT")
    c.ask("SEND", {"destination": f"/topic/{own}"}, b"while away")
    second = connect()
    second.say("SUBSCRIBE", headers)
    second.hear()
    second.ask("UNSUBSCRIBE", {"id": own, "durable": "true"})
    second.ask("DISCONNECT")
    c.ask("SEND", {"destination": f"/topic/{own}"}, b"gone")
    third = connect()
    third.ask("SUBSCRIBE", headers)
    third.rest()
    third.ask("UNSUBSCRIBE", {"id": own, "durable": "true"})
    c.heard += [*first.heard, *second.heard, *third.heard]


@scenario
def named_queue_of_topic(c: Chat, connect: Connect, own: str) -> None:
    headers = {
        "id": "1", "destination": f"/topic/{own}", "x-queue-name": f"{own}-q", "durable": "true",
        "auto-delete": "false",
    }  # fmt: skip
    first = connect()
    first.ask("SUBSCRIBE", headers)
    first.ask("DISCONNECT")
    c.ask("SEND", {"destination": f"/topic/{own}"}, b"x")
    c.say("SUBSCRIBE", {"id": "2", "destination": f"/amq/queue/{own}-q"})
    c.hear()


@scenario
def redelivered_to_another(c: Chat, connect: Connect, own: str) -> None:
    first = connect()
    first.ask("SUBSCRIBE", {"id": "1", "destination": f"/queue/{own}", "ack": "client"})
    c.ask("SEND", {"destination": f"/queue/{own}"}, b"x")
    first.hear()
    first.socket.close()
    c.say("SUBSCRIBE", {"id": "1", "destination": f"/queue/{own}"})
    c.hear()


@scenario
def exclusive_use(c: Chat, connect: Connect, own: str) -> None:
    other = connect()
    other.ask("SUBSCRIBE", {"id": "1", "destination": f"/queue/{own}", "exclusive": "true"})
    c.say("SUBSCRIBE", {"id": "1", "destination": f"/queue/{own}", "receipt": "r"})
    c.rest()


@scenario
def queue_arguments(c: Chat, connect: Connect, own: str) -> None:
    c.ask(
        "SEND",
        {"destination": f"/queue/{own}", "x-max-length": "1", "x-message-ttl": "60000"},
        b"1",
    )
    c.ask(
        "SEND",
        {"destination": f"/queue/{own}", "x-max-length": "1", "x-message-ttl": "60000"},
        b"2",
    )
    c.say(
        "SUBSCRIBE",
        {"id": "1", "destination": f"/queue/{own}", "x-max-length": "1", "x-message-ttl": "60000"},
    )
    c.hear()
    c.rest()


@scenario
def bad_numbers(c: Chat, connect: Connect, own: str) -> None:
    c.say(
        "SUBSCRIBE",
        {"id": "1", "destination": f"/queue/{own}", "prefetch-count": "many", "receipt": "r"},
    )
    c.rest()


@scenario
def dead_letters(c: Chat, connect: Connect, own: str) -> None:
    c.ask("SUBSCRIBE", {"id": "2", "destination": f"/queue/{own}-dead"})
    c.ask(
        "SUBSCRIBE",
        {
            "id": "1",
            "destination": f"/queue/{own}",
            "ack": "client",
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": f"{own}-dead",
        },
    )
    c.say(
        "SEND",
        {
            "destination": f"/queue/{own}",
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": f"{own}-dead",
            "foo": "1",
        },
        b"x",
    )
    c.hear()
    c.say("NACK", {"id": c.last["ack"], "requeue": "false"})
    c.hear()


@scenario
def after_an_error_nothing_is_done(c: Chat, connect: Connect, own: str) -> None:
    c.write(f"FOO\n\n\0SEND\ndestination:/queue/{own}\nreceipt:r\n\nx\0".encode())
    c.rest()


@scenario
def undefined_escape(c: Chat, connect: Connect, own: str) -> None:
    c.write(f"SEND\ndestination:/queue/{own}\nfoo:a\\tb\nreceipt:r\n\nx\0".encode())
    c.rest()


@scenario
def header_without_colon(c: Chat, connect: Connect, own: str) -> None:
    c.write(f"SEND\ndestination:/queue/{own}\nfoo\n\nx\0".encode())
    c.rest()


@scenario
def second_connect(c: Chat, connect: Connect, own: str) -> None:
    c.say("CONNECT", {"accept-version": "1.2", "host": "/"})
    c.rest()


@scenario
def body_on_subscribe(c: Chat, connect: Connect, own: str) -> None:
    c.say("SUBSCRIBE", {"id": "1", "destination": f"/queue/{own}", "receipt": "r"}, b"body")
    c.rest()
