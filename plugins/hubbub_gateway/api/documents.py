"""What the API says of itself: the OpenAPI document, and the kinds of problem."""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec

from hubbub import Response
from hubbub_gateway.answers import JSON, answer_json
from hubbub_gateway.call import Call
from hubbub_gateway.conditions import answer_unless_known
from hubbub_gateway.openapi import make_document
from hubbub_gateway.operations import Answer, Operation
from hubbub_gateway.problems import KINDS, PATH, Problem


class ProblemKind(msgspec.Struct, kw_only=True, frozen=True):
    """A kind of problem, and what a person can do about it."""

    type: str
    status: int
    title: str
    advice: str


class ProblemKinds(msgspec.Struct, kw_only=True, frozen=True):
    """All kinds of problem."""

    problems: list[ProblemKind]


async def openapi(call: Call) -> Response:
    """Give the OpenAPI document of all operations."""
    body = msgspec.json.encode(make_document(call.gateway.operations))
    tag = hashlib.sha256(body).hexdigest()[:32]
    return answer_unless_known(call.request, Response(200, [JSON], body), tag)


async def list_problems(call: Call) -> Response:
    """List the kinds of problem."""
    return answer_json(ProblemKinds(problems=[_kind(name) for name in KINDS]))


async def describe_problem(call: Call) -> Response:
    """Explain a kind of problem."""
    name = call.parameter("kind")
    if name not in KINDS:
        raise Problem("not-found", f"There is no kind of problem {name!r}.")
    return answer_json(_kind(name))


def _kind(name: str) -> ProblemKind:
    kind = KINDS[name]
    return ProblemKind(type=PATH + name, status=kind.status, title=kind.title, advice=kind.advice)


_JSON: Final = "application/json"

OPERATIONS: Final = (
    Operation(
        id="getOpenApi",
        method="GET",
        path="/openapi.json",
        handler=openapi,
        tag="documents",
        summary="Get this document",
        answers={
            200: Answer(description="The OpenAPI document.", content={_JSON: dict[str, Any]}),
            304: Answer(description="The client has it already."),
        },
    ),
    Operation(
        id="listProblems",
        method="GET",
        path=PATH.rstrip("/"),
        handler=list_problems,
        tag="documents",
        summary="List the kinds of problem",
        answers={200: Answer(description="All kinds.", content={_JSON: ProblemKinds})},
    ),
    Operation(
        id="describeProblem",
        method="GET",
        path=PATH + "{kind}",
        handler=describe_problem,
        tag="documents",
        summary="Explain a kind of problem",
        answers={200: Answer(description="The kind.", content={_JSON: ProblemKind})},
        problems=("not-found",),
    ),
)
