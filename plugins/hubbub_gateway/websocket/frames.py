"""The frames of `hubbub.v1`: what they say, as types. The AsyncAPI document is made of these.

A frame is an object of JSON. `op` says what it is. What a client sends is a request; one with an
`id` is answered by a frame with the same `id`, one without is answered only if it fails.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, UnsetType

from hubbub_gateway.durations import Duration
from hubbub_gateway.representation import PublishedMessage, ReceivedMessage

SUBPROTOCOL: Final = "hubbub.v1"
"""The name that clients offer in `Sec-WebSocket-Protocol`."""

MAX_EXACT: Final = 2**53 - 1
"""The largest integer that every reader of JSON keeps as it is."""

RequestId: TypeAlias = (
    Annotated[str, Meta(max_length=255)] | Annotated[int, Meta(ge=-MAX_EXACT, le=MAX_EXACT)] | None
)
"""What the client tells its request apart by."""

SubscriptionName: TypeAlias = Annotated[
    str, Meta(min_length=1, max_length=128, description="The client's name for the subscription.")
]
Credit: TypeAlias = Annotated[
    int,
    Meta(
        ge=0,
        le=1_000_000,
        description="Deliveries that may wait for their `ack` at a time; 0: none for now.",
    ),
]
DeliveryNumber: TypeAlias = Annotated[int, Meta(ge=1, le=MAX_EXACT)]
Filter: TypeAlias = Annotated[
    dict[str, Any],
    Meta(
        min_length=1,
        max_length=1,
        description='A kind of filter and its specification: `{"policy": {"level": ["high"]}}`, '
        '`{"selector": "color = \'blue\'"}`.',
    ),
]
Binary: TypeAlias = Literal["auto", "always", "never"]


class Request(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="op", forbid_unknown_fields=True
):
    """What a client sends. With an `id` it is answered; without, only if it fails."""

    id: RequestId = None


class Hello(Request, tag="hello", kw_only=True, frozen=True):
    """The first frame of every connection: who the client is, and which session it goes on with.

    Credentials are needed only if the handshake had none and the server asks for some.
    """

    token: Annotated[str, Meta(max_length=8192, description="A bearer token.")] | None = None
    username: Annotated[str, Meta(max_length=255)] | None = None
    password: Annotated[str, Meta(max_length=4096)] | None = None
    client: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=255,
                description="The client's name, which marks what it publishes.",
            ),
        ]
        | None
    ) = None
    session: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=128,
                pattern=r"^[A-Za-z0-9._~-]+$",
                description="The session to go on with, or to begin: its acknowledged "
                "subscriptions outlive the connection. None: all ends with the connection.",
            ),
        ]
        | None
    ) = None
    clean: Annotated[
        bool, Meta(description="Begin the session anew: what it holds is thrown away.")
    ] = False
    expires: (
        Annotated[Duration, Meta(description="How long the session is kept without a connection.")]
        | None
    ) = None
    binary: Annotated[
        Binary,
        Meta(
            description="When messages come in binary frames: if the body is not UTF-8 (auto), "
            "always, or never (such bodies come in base64)."
        ),
    ] = "auto"


class Publish(Request, tag="publish", kw_only=True, frozen=True):
    """Publish a message. Answered by `ok` when it is kept."""

    to: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=65_535,
            description="`a/b` is a topic, `$queue/NAME` a queue, `$stream/NAME` or "
            "`$stream/NAME/KEY` a stream.",
        ),
    ]
    message: PublishedMessage = PublishedMessage()


class Subscribe(Request, tag="subscribe", kw_only=True, frozen=True):
    """Subscribe to topics. Answered by `subscribed`, then messages come.

    Without `ack`, messages are sent as they are published; a client that does not keep up loses
    some, and is told by `dropped`. With `ack`, they wait in a queue of the subscription, which a
    session keeps for the client's next connection.
    """

    pattern: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=65_535,
            description="Levels are separated by `/`; `+` is any one level, `#` any number.",
        ),
    ]
    subscription: SubscriptionName | None = None
    filter: Filter | None = None
    ack: bool = False
    credit: Credit | None = None
    retained: Annotated[
        Literal["send", "new", "none"],
        Meta(
            description="Whether the topics' retained messages are sent first: yes, only if the "
            "subscription is new, or not."
        ),
    ] = "send"


class Consume(Request, tag="consume", kw_only=True, frozen=True):
    """Take messages from a queue, one consumer among others. Answered by `subscribed`.

    With `ack`, each message is this client's until it is acknowledged, the `lease` is over or the
    connection ends; then it is somebody's again. Without, it is settled when it is sent.
    """

    queue: Annotated[str, Meta(min_length=1, max_length=65_535)]
    subscription: SubscriptionName | None = None
    ack: bool = True
    credit: Credit | None = None
    lease: (
        Annotated[Duration, Meta(description="How long a delivery is this client's; None: until "
                                 "the connection ends.")]
        | None
    ) = None  # fmt: skip
    exclusive: Annotated[bool, Meta(description="Be the only consumer.")] = False
    priority: Annotated[
        int, Meta(ge=-(2**31), le=2**31 - 1, description="Consumers of a higher one come first.")
    ] = 0


class Read(Request, tag="read", kw_only=True, frozen=True):
    """Read a stream from a place on. Answered by `subscribed`.

    At most one of `from`, `next` and `since` says where to begin; by default, after the latest
    record. With `ack`, no more than `credit` records are sent before some are acknowledged; nothing
    else depends on it.
    """

    stream: Annotated[str, Meta(min_length=1, max_length=65_535)]
    subscription: SubscriptionName | None = None
    start: Literal["oldest", "latest"] | None = msgspec.field(default=None, name="from")
    next: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=1_000_000,
                description="Go on after the record whose frame said so.",
            ),
        ]
        | None
    ) = None
    since: (
        Annotated[
            int,
            Meta(ge=0, le=MAX_EXACT, description="A moment in milliseconds since the epoch."),
        ]
        | Annotated[str, Meta(min_length=1, max_length=40, description="Or in ISO 8601.")]
        | None
    ) = None
    ack: bool = False
    credit: Credit | None = None


class Unsubscribe(Request, tag="unsubscribe", kw_only=True, frozen=True):
    """End a subscription of any kind. What it holds unacknowledged goes back.

    One that a session kept ends for good, with the messages that wait for it.
    """

    subscription: SubscriptionName


class Settling(Request, kw_only=True, frozen=True):
    """Settles deliveries: those numbered, or all up to a number."""

    delivery: DeliveryNumber | Annotated[list[DeliveryNumber], Meta(max_length=10_000)] | None = (
        None
    )
    up_to: (
        Annotated[
            DeliveryNumber, Meta(description="This delivery and all before it that still wait.")
        ]
        | None
    ) = None
    subscription: Annotated[SubscriptionName, Meta(description="Narrows `up_to`.")] | None = None


class Ack(Settling, tag="ack", kw_only=True, frozen=True):
    """Acknowledge deliveries: their messages are done with. Answered when that is kept."""


class Nack(Settling, tag="nack", kw_only=True, frozen=True):
    """Give deliveries back: their messages are delivered again, at once or after a `delay`.

    With `reject` they go to the queue's dead letters, or are gone if it has none.
    """

    reject: bool = False
    delay: Duration | None = None
    reason: Annotated[str, Meta(min_length=1, max_length=255)] | None = None


class Extend(Settling, tag="extend", kw_only=True, frozen=True):
    """Move the end of the leases of deliveries to `lease` from now; 0 gives them back."""

    lease: Duration


class SetCredit(Request, tag="credit", kw_only=True, frozen=True):
    """Change the credit of a subscription with `ack`."""

    subscription: SubscriptionName
    credit: Credit


class Ping(Request, tag="ping", kw_only=True, frozen=True):
    """Answered by `pong`. Browsers can't send WebSocket's own pings."""


AnyRequest: TypeAlias = (
    Hello | Publish | Subscribe | Consume | Read | Unsubscribe | Ack | Nack | Extend | SetCredit
    | Ping
)  # fmt: skip


class Answer(msgspec.Struct, frozen=True, kw_only=True, tag_field="op", omit_defaults=True):
    """What the server sends."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What the server puts up with."""

    max_frame_bytes: int
    max_subscriptions: int
    max_credit: int


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription that the session kept, and that goes on with this connection."""

    subscription: str
    pattern: str
    credit: int


class Welcome(Answer, tag="welcome", kw_only=True, frozen=True):
    """The answer to `hello`: everything may be sent now.

    `resumed`: the session was there already. Its subscriptions go on without being made again.
    """

    id: RequestId = None
    server: str
    user: str
    realm: str
    client: str
    session: str | None = None
    resumed: bool = False
    subscriptions: list[Kept] = []
    limits: Limits


class Ok(Answer, tag="ok", kw_only=True, frozen=True):
    """A request is done, and what it changed is kept.

    After `publish`: `message` is the message's id. `duplicate`: the id is that of the message it
    repeats. `matched` is false if nobody is subscribed to the topic.
    """

    id: RequestId = None
    message: str | UnsetType = UNSET
    duplicate: bool = False
    matched: bool = True


class Subscribed(Answer, tag="subscribed", kw_only=True, frozen=True):
    """A subscription is made. `credit` is there if its deliveries must be acknowledged.

    `resumed`: it was there before, in the session, and goes on.
    """

    id: RequestId = None
    subscription: str
    credit: int | UnsetType = UNSET
    resumed: bool = False


class MessageFrame(Answer, tag="message", kw_only=True, frozen=True):
    """A message of a subscription.

    With a `delivery` number it must be acknowledged. `retained`: it was published before the
    subscription. `next`, of a record of a stream, is where to go on reading after it.

    In a binary frame the message has neither `body` nor `body_base64`: the body follows.
    """

    subscription: str
    delivery: int | UnsetType = UNSET
    retained: bool = False
    next: str | UnsetType = UNSET
    message: ReceivedMessage


class Dropped(Answer, tag="dropped", kw_only=True, frozen=True):
    """Messages of a subscription without `ack` that were not sent: the client did not keep up."""

    subscription: str
    count: int


class Ended(Answer, tag="ended", kw_only=True, frozen=True):
    """The server ended a subscription: its queue or stream is gone, say."""

    subscription: str
    detail: str


class ProblemDetails(msgspec.Struct, frozen=True, kw_only=True, rename={"kind": "type"}):
    """What went wrong, as in RFC 9457; the kinds are those of the REST API."""

    kind: Annotated[str, Meta(description="A path below /problems/.")]
    title: str
    status: int
    detail: str
    parameter: Annotated[str | UnsetType, Meta(description="The member that is wrong.")] = UNSET
    deliveries: Annotated[
        list[int] | UnsetType,
        Meta(description="Those whose lease was over; all others of the request are settled."),
    ] = UNSET


class Error(Answer, tag="error", kw_only=True, frozen=True):
    """A request failed, and did nothing but what `problem` says."""

    id: RequestId = None
    problem: ProblemDetails


class Pong(Answer, tag="pong", kw_only=True, frozen=True):
    """The answer to `ping`."""

    id: RequestId = None
    time: Annotated[int, Meta(description="Milliseconds since the epoch.")]


AnyAnswer: TypeAlias = (
    Welcome | Ok | Subscribed | MessageFrame | Dropped | Ended | Error | Pong
)  # fmt: skip
