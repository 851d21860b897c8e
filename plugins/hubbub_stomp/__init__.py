"""STOMP 1.0, 1.1 and 1.2 for hubbub, as RabbitMQ and ActiveMQ speak it."""

from .plugin import StompPlugin

__all__ = ["StompPlugin"]
