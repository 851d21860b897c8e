"""MQTT 3.1, 3.1.1 and 5.0 for hubbub."""

from .plugin import MqttPlugin

__all__ = ["MqttPlugin"]
