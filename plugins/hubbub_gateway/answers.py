"""Answers in JSON, and those to publishers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec

from hubbub import HubbubError, Message, Publication, Response

from .call import Call
from .negotiation import media_type
from .problems import Problem, problem_of
from .publishing import Incoming

S = TypeVar("S", bound=msgspec.Struct)

MAX_JSON: Final = 1024 * 1024
"""Bytes of a request that holds no messages."""
JSON = ("Content-Type", "application/json")
NO_STORE = ("Cache-Control", "no-store")
AS_IT_IS = ("Cache-Control", "no-store, no-transform")
INERT = (("Content-Security-Policy", "sandbox"), ("X-Content-Type-Options", "nosniff"))
"""For what anybody may have published: a browser that is led there runs no script of it, with the
rights of pages of the API."""


class Published(msgspec.Struct, omit_defaults=True, kw_only=True, frozen=True):
    """What became of a published message.

    `id`: its id; of a duplicate, that of the message it repeats. `matched` is false if it was
    published to a topic that nobody is subscribed to. `shard`, `sequence`: its place in a stream.
    """

    id: str
    duplicate: bool = False
    matched: bool = True
    shard: int | None = None
    sequence: str | None = None


class Refused(msgspec.Struct, kw_only=True, frozen=True):
    """An entry of a batch that was refused."""

    problem: dict[str, Any]


class Results(msgspec.Struct, kw_only=True, frozen=True):
    """What became of each entry of a batch, in its order."""

    results: list[Any]


def answer_json(value: Any, status: int = 200, headers: Sequence[tuple[str, str]] = ()) -> Response:
    """Answer with a value in JSON."""
    return Response(status, (JSON, *headers), msgspec.json.encode(value))


async def read_json(call: Call, kind: type[S]) -> S:
    """Read the body of a request as JSON of one kind.

    Raises:
        Problem: it is no JSON, or not of that kind.
    """
    headers = call.request.headers
    media = media_type(headers.get("content-type"))
    if media != "application/json" and not (media.endswith("+json")):
        raise Problem("media-type", f"This takes application/json, not {media or 'nothing'!r}.")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem("media-type", "This takes no compression.", [("Accept-Encoding", "identity")])
    try:
        return msgspec.json.decode(await call.request.body(MAX_JSON), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem("bad-message", str(error)) from None


async def publish(call: Call, incoming: Incoming) -> Response:
    """Publish what a request brings, and answer when it is kept."""
    session = call.session
    await session.ready()
    messages = [each for each in incoming.entries if isinstance(each, Message)]
    publication = session.publish(messages)
    await publication.commit.wait()
    return answer_published(incoming, _outcomes(messages, publication))


def _outcomes(
    messages: Sequence[Message], publication: Publication
) -> list[Published | HubbubError]:
    unmatched = frozenset(publication.unmatched)
    outcomes: list[Published | HubbubError] = []
    for index, message in enumerate(messages):
        if (error := publication.refused.get(index)) is not None:
            outcomes.append(error)
        elif (first := publication.duplicates.get(index)) is not None:
            outcomes.append(Published(id=str(first), duplicate=True))
        else:
            outcomes.append(Published(id=str(message.id), matched=index not in unmatched))
    return outcomes


def answer_published(incoming: Incoming, outcomes: Sequence[Published | HubbubError]) -> Response:
    """Answer a publisher: 202, or 207 if a part of a batch was refused.

    `outcomes` are those of the messages among the entries, in order.

    Raises:
        HubbubError: the only message was refused.
    """
    if not incoming.batch:
        (outcome,) = outcomes
        if isinstance(outcome, HubbubError):
            raise outcome
        return answer_json(outcome, 202)
    left = iter(outcomes)
    results: list[Published | Refused] = []
    for entry in incoming.entries:
        outcome_or_problem = entry if isinstance(entry, Problem) else next(left)
        if isinstance(outcome_or_problem, HubbubError):
            outcome_or_problem = problem_of(outcome_or_problem)
        if isinstance(outcome_or_problem, Problem):
            results.append(Refused(problem=outcome_or_problem.details()))
        else:
            results.append(outcome_or_problem)
    refused = any(isinstance(each, Refused) for each in results)
    return answer_json(Results(results=results), 207 if refused else 202)


def answer_many(results: Sequence[Mapping[str, Any] | Problem]) -> Response:
    """Answer a batch: 200, or 207 if a part of it failed."""
    failed = False
    told: list[Mapping[str, Any] | Refused] = []
    for each in results:
        if isinstance(each, Problem):
            failed = True
            told.append(Refused(problem=each.details()))
        else:
            told.append(each)
    return answer_json(Results(results=told), 207 if failed else 200)
