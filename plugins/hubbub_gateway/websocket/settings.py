"""The table `[gateway.websocket]` of the configuration."""

from __future__ import annotations

from pydantic import Field

from hubbub import Duration, Section, Size


class WebSocketApiSettings(Section):
    """The WebSocket at `/ws`: limits and deadlines."""

    max_frame_bytes: Size = Field(
        default=16 * 1024 * 1024, ge=1024, description="Bytes of one frame."
    )
    compression: bool = Field(
        default=False,
        description="Compress for clients that offer it (permessage-deflate). It takes memory and "
        "time for each connection, and what goes to many is compressed for each.",
    )
    hello_timeout: Duration = Field(
        default=10.0, gt=0, description="Time in which a client must have sent its `hello`."
    )
    ping_interval: Duration = Field(
        default=30.0, gt=0, description="Silence of a client after which it gets a ping."
    )
    ping_timeout: Duration = Field(
        default=20.0, gt=0, description="Time in which a ping must be answered."
    )
    idle_timeout: Duration = Field(
        default=3600.0,
        gt=0,
        description="Time after which a client is disconnected that has no subscription and sends "
        "nothing.",
    )
    max_subscriptions: int = Field(
        default=1_000, ge=1, description="Subscriptions of one connection."
    )
    default_credit: int = Field(
        default=100,
        ge=1,
        description="Deliveries of a subscription that may wait for their `ack`, unless the client "
        "says how many.",
    )
    max_credit: int = Field(
        default=10_000,
        ge=1,
        description="The most that may wait for their `ack`, of one subscription and of one "
        "connection.",
    )
    slow_subscriber_bytes: Size = Field(
        default=1024 * 1024,
        ge=1024,
        description="Bytes not yet taken by a client above which messages of its subscriptions "
        "without `ack` are dropped and counted; the client is told how many.",
    )
    max_queued_messages: int = Field(
        default=100_000,
        ge=1,
        description="Messages that wait in the queue of a subscription with `ack`; above, the "
        "oldest are dropped and counted.",
    )
    session_expiry: Duration = Field(
        default=86_400.0,
        gt=0,
        description="How long a session is kept without a connection, unless its client says how "
        "long.",
    )
    max_session_expiry: Duration = Field(
        default=30 * 86_400.0, gt=0, description="The longest that a client may say."
    )
    max_sessions: int = Field(
        default=10_000,
        ge=1,
        description="Queues that sessions of one user may have; without a user: all together.",
    )
