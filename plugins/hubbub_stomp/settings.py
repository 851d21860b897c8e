"""The section `[stomp]` of the configuration."""

from __future__ import annotations

from pydantic import Field

from hubbub import Duration, ListenerSettings, Section, Size, TlsListenerSettings, WebSocketSettings


class StompListener(ListenerSettings):
    """Where plain STOMP listens."""

    bind: list[str] = Field(
        default=["127.0.0.1:61613"],
        description='Addresses to listen on, such as "127.0.0.1:61613" or "*:61613"; an empty list '
        "for none. Port 0 takes a free one.",
    )


class StompWebSocket(Section):
    """STOMP over WebSocket."""

    listener: ListenerSettings = Field(
        default_factory=lambda: ListenerSettings(bind=["127.0.0.1:15674"]),
        description="Where it listens; with `tls`, it speaks `wss`.",
    )
    paths: list[str] = Field(
        default=["/ws", "/stomp"], min_length=1, description="The paths of the WebSocket."
    )
    protocol: WebSocketSettings = Field(
        default_factory=WebSocketSettings, description="Limits and deadlines of WebSockets."
    )


class StompSettings(Section):
    """STOMP 1.0, 1.1 and 1.2."""

    listener: StompListener = Field(
        default_factory=StompListener, description="Where plain STOMP listens."
    )
    tls: TlsListenerSettings | None = Field(
        default=None,
        description="Where STOMP over TLS listens, usually on port 61614; default: nowhere.",
    )
    websocket: StompWebSocket | None = Field(
        default=None, description="STOMP over WebSocket; default: nowhere."
    )
    guest: bool = Field(
        default=True,
        description="The user `guest` with the password `guest`, unless it is configured as a "
        "user, counts as a client without credentials: clients use it when they are told nothing.",
    )
    connect_timeout: Duration = Field(
        default=10.0, gt=0, description="Time in which a client must have sent its CONNECT."
    )
    min_heart_beat: Duration = Field(
        default=1.0, gt=0, description="The shortest interval of heart-beats that is agreed to."
    )
    default_hosts: list[str] = Field(
        default=["localhost"],
        description='Values of the header `host` that mean the default realm, beside "/", '
        "addresses and the name of this machine.",
    )
    realms: list[str] = Field(
        default=[],
        description="Realms that clients which may enter all can name as `host`, beside those of "
        "configured queues, streams and users.",
    )
    max_header_bytes: Size = Field(
        default=64 * 1024, ge=1024, description="Bytes of a frame's command and headers."
    )
    max_headers: int = Field(default=100, ge=10, description="Headers of a frame.")
    max_body_bytes: Size = Field(
        default=16 * 1024 * 1024, ge=1024, description="Bytes of a frame's body."
    )
    max_subscriptions: int = Field(
        default=1_000, ge=1, description="Subscriptions of one connection."
    )
    max_transactions: int = Field(
        default=100, ge=1, description="Transactions that one connection may have open."
    )
    max_transaction_frames: int = Field(
        default=10_000, ge=1, description="Frames that open transactions of a connection hold."
    )
    max_transaction_bytes: Size = Field(
        default=64 * 1024 * 1024, ge=1024, description="Bytes of them."
    )
    max_unacknowledged: int = Field(
        default=10_000,
        ge=1,
        description="Messages of one subscription that wait for their ACK; a client may ask for "
        "fewer by `prefetch-count`.",
    )
    max_browsed: int = Field(
        default=10_000, ge=1, description="Messages that one look into a queue shows."
    )
    slow_subscriber_bytes: Size = Field(
        default=64 * 1024 * 1024,
        ge=1024,
        description="Bytes that wait for a client which reads slowly, above which messages of "
        "topics that it subscribes to with `ack:auto` are dropped and counted.",
    )
    max_queued_messages: int = Field(
        default=100_000,
        ge=1,
        description="Messages that wait in the queue of a subscription to a topic; above, the "
        "oldest are dropped and counted.",
    )
    create_queues: bool = Field(
        default=True,
        description="A queue that does not exist is created when a client that may configure it "
        "sends or subscribes to `/queue/NAME`.",
    )
    create_streams: bool = Field(
        default=True,
        description="A stream that does not exist is created, with one shard, when a client that "
        "may configure it sends or subscribes to `/stream/NAME`.",
    )
