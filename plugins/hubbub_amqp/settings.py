"""The section `[amqp]` of the configuration."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hubbub import DEFAULT_REALM, Duration, ListenerSettings, Section, Size, TlsListenerSettings

from .decode import FRAME_MIN_SIZE


class AmqpListener(ListenerSettings):
    """Where plain AMQP listens."""

    bind: list[str] = Field(
        default=["127.0.0.1:5672"],
        description='Addresses to listen on, such as "127.0.0.1:5672" or "*:5672"; an empty list '
        "for none. Port 0 takes a free one.",
    )


class AmqpSettings(Section):
    """AMQP 0-9-1 as RabbitMQ speaks it."""

    listener: AmqpListener = Field(
        default_factory=AmqpListener, description="Where plain AMQP listens."
    )
    tls: TlsListenerSettings | None = Field(
        default=None,
        description="Where AMQP over TLS listens, usually on port 5671; default: nowhere.",
    )
    vhosts: dict[Annotated[str, Field(min_length=1, max_length=255)], str] = Field(
        default_factory=lambda: {"/": DEFAULT_REALM},
        description="The virtual hosts, and the realm that each one is.",
    )
    guest: bool = Field(
        default=True,
        description="The user `guest` with the password `guest`, unless it is configured as a "
        "user, counts as a client without credentials: clients use it when they are told nothing.",
    )
    handshake_timeout: Duration = Field(
        default=10.0, gt=0, description="Time in which a client must have opened its connection."
    )
    heartbeat: int = Field(
        default=60,
        ge=0,
        le=65_535,
        description="Seconds between heartbeats that the server proposes; 0: none.",
    )
    channel_max: int = Field(
        default=2047, ge=1, le=65_535, description="Channels of one connection."
    )
    frame_max: Size = Field(
        default=131_072, ge=FRAME_MIN_SIZE, le=2**31 - 1, description="Bytes of a frame."
    )
    max_message_size: Size = Field(
        default=128 * 1024 * 1024,
        ge=1,
        le=512 * 1024 * 1024,
        description="Bytes of a message's body; a larger one closes its channel.",
    )
    max_incomplete_bytes: Size = Field(
        default=256 * 1024 * 1024,
        ge=1,
        description="Bytes of the messages of one connection that have come in part, and of those "
        "that one transaction publishes.",
    )
    max_consumers: int = Field(
        default=10_000, ge=1, description="Consumers of one connection; more are refused."
    )
    consumer_timeout: Duration = Field(
        default=1800.0,
        description="How long a consumer may take to acknowledge a message before its channel is "
        "closed; 0: for ever.",
    )
