"""The section `[gateway]` of the configuration."""

from __future__ import annotations

from pydantic import Field

from hubbub import Duration, ListenerSettings, Section, Size

from .websocket.settings import WebSocketApiSettings


class GatewayListener(ListenerSettings):
    """Where the gateway listens."""

    bind: list[str] = Field(
        default=["127.0.0.1:8080"],
        description='Addresses to listen on, such as "127.0.0.1:8080" or "*:8080"; an empty list '
        "for none. Port 0 takes a free one.",
    )


class CorsSettings(Section):
    """Web pages that may call the API from a browser."""

    origins: list[str] = Field(
        default=[],
        description='Origins such as "https://app.example.com"; without a port: all its ports; '
        '"*": all. A request that comes from a page of any other origin is refused.',
    )
    credentials: bool = Field(
        default=False,
        description="Whether pages may send what the browser keeps: passwords and certificates. "
        'Not together with the origin "*".',
    )
    max_age: Duration = Field(
        default=600.0, description="How long a browser may remember that a page may call."
    )


class EventSettings(Section):
    """Server-Sent Events, and the subscriptions behind them."""

    heart_beat: Duration = Field(
        default=15.0, gt=0, description="Time without an event after which a comment is sent."
    )
    retry: Duration = Field(
        default=2.0, description="Time after which clients are told to connect again."
    )
    max_waiting_bytes: Size = Field(
        default=1024 * 1024,
        ge=1024,
        description="Bytes that wait for one slow reader of topics; what comes above is dropped "
        "and counted, and the reader is told.",
    )
    retention: Duration = Field(
        default=86_400.0,
        gt=0,
        description="How long a durable subscription keeps messages, unless it wants less.",
    )
    max_bytes: Size = Field(
        default=256 * 2**20,
        ge=1024,
        description="Bytes that a durable subscription keeps, unless it wants less; above, the "
        "oldest messages go.",
    )
    max_subscriptions: int = Field(
        default=1_000, ge=0, description="Durable subscriptions of one user."
    )


class GatewaySettings(Section):
    """The HTTP API: REST, Server-Sent Events, WebSocket."""

    listener: GatewayListener = Field(
        default_factory=GatewayListener, description="Where it listens; with `tls`, by HTTPS."
    )
    cors: CorsSettings = Field(
        default_factory=CorsSettings, description="Web pages that may call the API."
    )
    websocket: WebSocketApiSettings = Field(
        default_factory=WebSocketApiSettings, description="The WebSocket at `/ws`."
    )
    events: EventSettings = Field(
        default_factory=EventSettings, description="Server-Sent Events and their subscriptions."
    )
    host_names: list[str] = Field(
        default=[],
        description="Names of this machine that clients without credentials may call it by, "
        "beside `localhost` and addresses.",
    )
    create_queues: bool = Field(
        default=True,
        description="A queue that does not exist is created when a client that may configure it "
        "sends to it.",
    )
    create_streams: bool = Field(
        default=True,
        description="A stream that does not exist is created, with one shard, when a client that "
        "may configure it appends to it.",
    )
    max_message_bytes: Size = Field(
        default=16 * 1024 * 1024, ge=1024, description="Bytes of one message's body."
    )
    max_batch: int = Field(
        default=1_000, ge=1, description="Messages of one request, and leased at once."
    )
    max_wait: Duration = Field(
        default=60.0, description="The longest time that a receive waits for messages."
    )
