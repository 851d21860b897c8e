"""hubbub: one bus for AMQP, MQTT, STOMP, SQS, SNS, Kinesis, HTTP and WebSocket clients."""

__version__ = "0.1.0.dev0"
