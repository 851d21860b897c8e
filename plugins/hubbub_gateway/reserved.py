"""Names that no client chooses."""


def is_reserved(queue: str) -> bool:
    """Tell whether a queue is a plugin's own: of a session of MQTT, of this API, or another's."""
    return queue.startswith("$")
