"""AMQP 0-9-1 for hubbub, as RabbitMQ speaks it."""

from .plugin import AmqpPlugin

__all__ = ["AmqpPlugin"]
