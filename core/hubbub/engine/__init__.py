"""Engines keep queues, streams and documents; `contract` says what every engine promises."""
