"""What a client's bytes can cause to be raised, and the texts that clients of RabbitMQ know."""

from __future__ import annotations


class StompError(Exception):
    """What a client asked for cannot be done: it gets an ERROR frame, and the connection ends.

    `summary` goes into the header `message`, `detail` into the body. `receipt` is that of the
    frame which is refused; "" if it asked for none.
    """

    def __init__(self, summary: str, detail: str, receipt: str = "") -> None:
        super().__init__(summary, detail)
        self.summary = summary
        self.detail = detail
        self.receipt = receipt

    def __str__(self) -> str:
        """Say both in one line."""
        return f"{self.summary}: {' '.join(self.detail.split())}"


class SelectorError(ValueError):
    """The text is no selector; the message says where and why."""


def malformed(detail: str) -> StompError:
    """Refuse bytes that are no frame."""
    return StompError("Malformed frame", detail + "\n")


def too_large(detail: str) -> StompError:
    """Refuse a frame above a limit."""
    return StompError("Frame too large", detail + "\n")


def missing(summary: str, command: str, header: str) -> StompError:
    """Refuse a frame without a header that it needs."""
    return StompError(summary, f"\"{command}\" must include a '{header}' header\n")


def unsupported(detail: str) -> StompError:
    """Refuse what this server does not offer, rather than ignore it."""
    return StompError("Not supported", detail + "\n")


def unknown_delivery(detail: str) -> StompError:
    """Refuse to settle what is not (any more) waiting for it."""
    return StompError("precondition_failed", f"PRECONDITION_FAILED - {detail}\n")
