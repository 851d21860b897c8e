"""The section `[mqtt]` of the configuration."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hubbub import Duration, ListenerSettings, Section, Size, TlsListenerSettings, WebSocketSettings

from .decode import LARGEST_PACKET


class MqttListener(ListenerSettings):
    """Where plain MQTT listens."""

    bind: list[str] = Field(
        default=["127.0.0.1:1883"],
        description='Addresses to listen on, such as "127.0.0.1:1883" or "*:1883"; an empty list '
        "for none. Port 0 takes a free one.",
    )


class MqttWebSocket(Section):
    """MQTT over WebSocket."""

    listener: ListenerSettings = Field(
        default_factory=lambda: ListenerSettings(bind=["127.0.0.1:8083"]),
        description="Where it listens; with `tls`, it speaks `wss`.",
    )
    path: str = Field(
        default="/mqtt", pattern=r"^/[^?#]*$", description="The path of the WebSocket."
    )
    protocol: WebSocketSettings = Field(
        default_factory=WebSocketSettings, description="Limits and deadlines of WebSockets."
    )


_UInt16 = Annotated[int, Field(ge=1, le=65_535)]


class MqttSettings(Section):
    """MQTT 3.1, 3.1.1 and 5.0."""

    listener: MqttListener = Field(
        default_factory=MqttListener, description="Where plain MQTT listens."
    )
    tls: TlsListenerSettings | None = Field(
        default=None,
        description="Where MQTT over TLS listens, usually on port 8883; default: nowhere.",
    )
    websocket: MqttWebSocket | None = Field(
        default=None, description="MQTT over WebSocket; default: nowhere."
    )
    connect_timeout: Duration = Field(
        default=10.0, gt=0, description="Time in which a client must have sent its CONNECT."
    )
    max_packet_size: Size = Field(
        default=2 * 1024 * 1024,
        ge=1024,
        le=LARGEST_PACKET,
        description="Bytes of a packet from a client; a client that sends a larger one is "
        "disconnected.",
    )
    max_client_id_bytes: int = Field(
        default=1024, ge=23, le=32_768, description="Bytes of a client identifier."
    )
    receive_maximum: _UInt16 = Field(
        default=1_000,
        description="Messages of QoS 1 and 2 that a client may have sent without an answer yet.",
    )
    max_in_flight: int = Field(
        default=1_000,
        ge=1,
        le=32_767,
        description="Messages of QoS 1 and 2 under way to one client; a client of MQTT 5.0 may "
        "ask for fewer.",
    )
    topic_alias_maximum: int = Field(
        default=32, ge=0, le=65_535, description="Topic aliases that a client may set."
    )
    response_information: Annotated[str, Field(min_length=1, max_length=1024)] | None = Field(
        default=None,
        description="What clients of MQTT 5.0 that ask for it are told to make response topics of, "
        'such as "answers/{client}"; "{client}" is the client identifier. Default: nothing.',
    )
    max_keep_alive: Annotated[int, Field(ge=1, le=65_535)] | None = Field(
        default=None,
        description="Seconds of keep alive imposed on clients of MQTT 5.0 that ask for more or "
        "none; default: as they ask.",
    )
    max_session_expiry: Duration | None = Field(
        default=None,
        description="How long a session outlives its connection at most; default: as clients ask, "
        "which may be for ever.",
    )
    max_sessions: int = Field(
        default=100_000,
        ge=1,
        description="Sessions there may be, those of absent clients included; more are refused.",
    )
    max_subscriptions: int = Field(
        default=10_000, ge=1, description="Subscriptions of one session; more are refused."
    )
    max_queued_messages: int = Field(
        default=100_000,
        ge=1,
        description="Messages that wait for one client, or for one shared subscription; above, "
        "the oldest are dropped and counted.",
    )
    max_queued_bytes: Size = Field(
        default=256 * 1024 * 1024, ge=1024, description="Bytes of them; the same holds above."
    )
    slow_subscriber_bytes: Size = Field(
        default=1024 * 1024,
        ge=1024,
        description="Bytes not yet taken by a client above which messages of QoS 0 for it are "
        "dropped and counted.",
    )
    create_queues: bool = Field(
        default=True,
        description="A `$queue/NAME` that does not exist is created when a client that may "
        "configure it publishes or subscribes to it.",
    )
    create_streams: bool = Field(
        default=True,
        description="A `$stream/NAME` that does not exist is created, with one shard, when a "
        "client that may configure it publishes to it.",
    )
    sys_interval: Duration = Field(
        default=10.0, description="How often the topics under `$SYS` are published; 0: never."
    )
