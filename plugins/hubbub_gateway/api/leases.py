"""Leases: accept, release, reject and extend them by their tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

import msgspec

from hubbub import DeniedError, NotFoundError, Outcome, Receipt, Response, queue_address
from hubbub_gateway.answers import Results, answer_json, answer_many, read_json
from hubbub_gateway.call import Call
from hubbub_gateway.durations import Duration
from hubbub_gateway.operations import Answer, Operation
from hubbub_gateway.problems import Problem
from hubbub_gateway.tokens import TokenError, read_token

_OUTCOMES: Final = {
    "accept": Outcome.ACCEPT,
    "release": Outcome.RELEASE,
    "reject": Outcome.REJECT,
}


class ReleaseOptions(msgspec.Struct, kw_only=True, frozen=True):
    """After what `delay` the message may be received again; at once by default."""

    delay: Duration = 0


class RejectOptions(msgspec.Struct, kw_only=True, frozen=True):
    """The `reason` that the dead letter tells."""

    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=1024)] = "rejected"


class ExtendOptions(msgspec.Struct, kw_only=True, frozen=True):
    """How long the `lease` is to last from now on; the queue's own time by default."""

    lease: Duration | None = None


class Settle(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Leases to be settled or extended together.

    * `accept`: done with, the messages go. `release`: they may be received again.
    * `reject`: they go to the dead-letter address, with the `reason`.
    * `extend`: the leases last for `lease` from now on.
    """

    leases: Annotated[list[str], msgspec.Meta(min_length=1)]
    outcome: Literal["accept", "release", "reject", "extend"] = "accept"
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=1024)] = "rejected"
    lease: Duration | None = None


class Extended(msgspec.Struct, kw_only=True, frozen=True):
    """Until when a lease lasts now, in milliseconds since the epoch."""

    lease_until: int


async def accept(call: Call) -> Response:
    """Settle a message that was dealt with: it leaves the queue."""
    return await _settle_one(call, Outcome.ACCEPT)


async def release(call: Call) -> Response:
    """Give a message back."""
    delay = call.duration("delay", call.options(ReleaseOptions).delay)
    if not delay:
        return await _settle_one(call, Outcome.RELEASE)
    await _extend_one(call, delay)
    return Response(204)


async def reject(call: Call) -> Response:
    """Give a message up: to the queue's dead-letter address, if it has one."""
    return await _settle_one(call, Outcome.REJECT, call.options(RejectOptions).reason)


async def extend(call: Call) -> Response:
    """Hold a lease longer."""
    wanted = call.options(ExtendOptions).lease
    queue = call.session.find_queue(call.queue_name())
    lease = 0 if queue is None else queue.settings.lease
    if wanted is not None:
        lease = call.duration("lease", wanted)
    now = call.gateway.now()
    await _extend_one(call, lease)
    return answer_json(Extended(lease_until=now + lease))


async def settle(call: Call) -> Response:
    """Settle or extend several leases, each by itself."""
    form = await read_json(call, Settle)
    if len(form.leases) > call.gateway.settings.max_batch:
        raise Problem("too-large", f"At most {call.gateway.settings.max_batch} leases at a time.")
    number = _queue_number(call)
    results: list[dict[str, Any] | Problem] = []
    receipts: list[tuple[int, Receipt]] = []
    for index, token in enumerate(form.leases):
        try:
            receipts.append((index, _receipt(token, number)))
            results.append({})
        except Problem as problem:
            results.append(problem)
    held = [receipt for _, receipt in receipts]
    if form.outcome == "extend":
        lease = form.lease
        info = call.session.find_queue(call.queue_name())
        duration = call.duration("lease", lease) if lease is not None else None
        if duration is None:
            duration = 0 if info is None else info.settings.lease
        failed = [at for at, each in enumerate(held) if not await _extends(call, each, duration)]
    elif held:
        settlement = await call.session.settle(held, _OUTCOMES[form.outcome], reason=form.reason)
        await settlement.commit.wait()
        failed = list(settlement.failed)
    else:
        failed = []
    for at in failed:
        index, receipt = receipts[at]
        results[index] = _over(call, receipt)
    return answer_many(results)


async def _settle_one(call: Call, outcome: Outcome, reason: str = "rejected") -> Response:
    receipt = _receipt(call.parameter("lease"), _queue_number(call))
    settlement = await call.session.settle([receipt], outcome, reason=reason)
    if settlement.failed:
        raise _over(call, receipt)
    await settlement.commit.wait()
    return Response(204)


async def _extend_one(call: Call, lease: int) -> None:
    receipt = _receipt(call.parameter("lease"), _queue_number(call))
    if not await _extends(call, receipt, lease):
        raise _over(call, receipt)


async def _extends(call: Call, receipt: Receipt, lease: int) -> bool:
    """Extend a lease; one that is over stays over, though nobody else has the message yet."""
    session = call.session
    return session.lease_of(receipt) == "held" and await session.extend(receipt, lease)


def _queue_number(call: Call) -> int:
    """Return the number of the queue in the path, if the caller may consume from it."""
    name, session = call.queue_name(), call.session
    address = str(queue_address(name))
    if not session.allowed("consume", address):
        raise DeniedError(call.principal.name, "consume", address)
    queue = session.find_queue(name)
    if queue is None:
        raise NotFoundError("queue", name)
    return queue.number


def _receipt(token: str, queue: int) -> Receipt:
    try:
        receipt = read_token(token)
    except TokenError as error:
        raise Problem("bad-token", str(error)) from None
    if receipt.queue != queue:
        raise Problem("bad-token", "The lease token is of another queue.")
    return receipt


def _over(call: Call, receipt: Receipt) -> Problem:
    """Say why a lease can't be settled any more."""
    if call.session.lease_of(receipt) == "stale":
        return Problem("lease-lost", "Somebody else has received the message since.")
    if call.session.lease_of(receipt) == "visible":
        return Problem("lease-over", "The lease has ended, and the message waits again.")
    return Problem("lease-over", "The message is settled, or gone.")


_PROBLEMS: Final[Sequence[str]] = ("bad-token", "not-found", "lease-lost", "lease-over")
_LEASE: Final = "/queues/{name}/messages/{lease}"

OPERATIONS: Final = (
    Operation(
        id="acceptMessage",
        method="DELETE",
        path=_LEASE,
        handler=accept,
        tag="leases",
        summary="Accept a message: it is dealt with, and leaves the queue",
        answers={204: Answer(description="It is gone, and that is kept.")},
        problems=tuple(_PROBLEMS),
    ),
    Operation(
        id="releaseMessage",
        method="POST",
        path=_LEASE + "/release",
        handler=release,
        tag="leases",
        summary="Give a message back to the queue",
        query=ReleaseOptions,
        answers={204: Answer(description="It may be received again, after the delay if any.")},
        problems=tuple(_PROBLEMS),
    ),
    Operation(
        id="rejectMessage",
        method="POST",
        path=_LEASE + "/reject",
        handler=reject,
        tag="leases",
        summary="Give a message up: it goes to the dead-letter address, if the queue has one",
        query=RejectOptions,
        answers={204: Answer(description="It has left the queue, and that is kept.")},
        problems=tuple(_PROBLEMS),
    ),
    Operation(
        id="extendLease",
        method="POST",
        path=_LEASE + "/extend",
        handler=extend,
        tag="leases",
        summary="Hold a lease longer",
        query=ExtendOptions,
        answers={
            200: Answer(description="It lasts longer.", content={"application/json": Extended})
        },
        problems=tuple(_PROBLEMS),
    ),
    Operation(
        id="settleMessages",
        method="POST",
        path="/queues/{name}/settle",
        handler=settle,
        tag="leases",
        summary="Settle or extend several leases at once",
        content={"application/json": Settle},
        content_required=True,
        answers={
            200: Answer(description="All are settled.", content={"application/json": Results}),
            207: Answer(description="Some are not.", content={"application/json": Results}),
        },
        problems=("bad-message", "not-found", "too-large", "media-type"),
    ),
)
