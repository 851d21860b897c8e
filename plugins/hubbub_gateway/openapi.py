"""The OpenAPI 3.1 document of the API: made from the route table that serves it."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from hubbub import __version__

from .operations import Answer, Header, Media, Operation
from .problems import KINDS, MEDIA_TYPE
from .router import REST

_REFERENCE: Final = "#/components/schemas/{name}"
_ANY: Final = ("bad-request", "unauthenticated", "forbidden", "wrong-host", "unavailable")
"""Problems that any operation may meet."""
_TAGS: Final = {
    "queues": "Queues: competing consumers, leases, redelivery, dead letters.",
    "leases": "Settling messages that were received, by their lease tokens.",
    "topics": "Topics: a tree of addresses; who publishes reaches every subscription that matches.",
    "subscriptions": "Durable subscriptions, read by Server-Sent Events.",
    "streams": "Streams: ordered logs in shards that can be read again.",
    "websocket": "Everything above, over one connection.",
    "documents": "What this API says of itself.",
}


class ProblemDetails(msgspec.Struct, kw_only=True, frozen=True):
    """What went wrong (RFC 9457). `type` leads to an explanation."""

    type: str
    title: str
    status: int
    detail: str


def make_document(operations: Iterable[Operation]) -> dict[str, Any]:
    """Describe operations."""
    found = tuple(operations)
    schemas = _Schemas(found)
    paths: dict[str, dict[str, Any]] = {}
    for operation in found:
        path = operation.path.replace(REST + "}", "}")
        paths.setdefault(path, {})[operation.method.lower()] = _describe(operation, schemas)
    used = {operation.tag for operation in found}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "hubbub",
            "version": __version__,
            "summary": "One bus for AMQP, MQTT, STOMP, SQS, SNS, Kinesis, HTTP and WebSocket.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": name, "description": text} for name, text in _TAGS.items() if name in used
        ],
        "security": [{}, {"bearer": []}, {"basic": []}],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "basic": {"type": "http", "scheme": "basic"},
            },
        },
    }


class _Schemas:
    """The schemas of all types that the operations name."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        types = [each for operation in operations for each in _types(operation)]
        types.append(ProblemDetails)
        found, self.components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
        self._found = {_key(kind): schema for kind, schema in zip(types, found, strict=True)}

    def of(self, kind: Any) -> dict[str, Any]:
        """Return the schema of a type; None stands for bytes, a tuple for one of several."""
        if kind is None:
            return {}
        if isinstance(kind, tuple):
            return {"anyOf": [self.of(each) for each in kind]}
        return self._found[_key(kind)]

    def content(self, media: Media) -> dict[str, Any]:
        """Describe the content in each of its media types."""
        return {
            name: {} if kind is None else {"schema": self.of(kind)} for name, kind in media.items()
        }

    def headers(self, headers: Mapping[str, Header]) -> dict[str, Any]:
        """Describe the headers of an answer."""
        return {
            name: {"description": each.description, "schema": self.of(each.type)}
            for name, each in headers.items()
        }


def _key(kind: Any) -> str:
    return repr(kind)


def _types(operation: Operation) -> Iterable[Any]:
    media = [operation.content, *(each.content for each in operation.answers.values())]
    for kind in (kind for each in media for kind in each.values()):
        if isinstance(kind, tuple):
            yield from kind
        elif kind is not None:
            yield kind
    yield from (each.type for each in operation.headers.values())
    for answer in operation.answers.values():
        yield from (each.type for each in answer.headers.values())


def _describe(operation: Operation, schemas: _Schemas) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "parameters": [
            *_path_parameters(operation.path),
            *_query_parameters(operation),
            *(
                {
                    "name": name,
                    "in": "header",
                    "description": each.description,
                    "schema": schemas.of(each.type),
                }
                for name, each in operation.headers.items()
            ),
        ],
        "responses": {
            **{str(code): _answer(each, schemas) for code, each in operation.answers.items()},
            **_problems(operation, schemas),
        },
    }
    if about := _about(operation):
        described["description"] = about
    if operation.content:
        described["requestBody"] = {
            "required": operation.content_required,
            "content": schemas.content(operation.content),
        }
    return described


def _answer(answer: Answer, schemas: _Schemas) -> dict[str, Any]:
    described: dict[str, Any] = {"description": answer.description}
    if answer.content:
        described["content"] = schemas.content(answer.content)
    if answer.headers:
        described["headers"] = schemas.headers(answer.headers)
    return described


def _problems(operation: Operation, schemas: _Schemas) -> dict[str, Any]:
    """Describe what may go wrong, by status."""
    by_status: dict[int, list[str]] = {}
    for kind in sorted({*_ANY, *operation.problems}):
        by_status.setdefault(KINDS[kind].status, []).append(kind)
    return {
        str(status): {
            "description": ", ".join(KINDS[kind].title for kind in kinds) + ".",
            "content": {MEDIA_TYPE: {"schema": schemas.of(ProblemDetails)}},
        }
        for status, kinds in sorted(by_status.items())
    }


def _path_parameters(path: str) -> Iterable[dict[str, Any]]:
    for level in path.split("/"):
        if level.startswith("{"):
            name = level[1:-1]
            parameter: dict[str, Any] = {
                "name": name.removesuffix(REST),
                "in": "path",
                "required": True,
                "schema": {"type": "string", "minLength": 1},
            }
            if name.endswith(REST):
                parameter["description"] = "One or more levels, with `/` between them."
            yield parameter


def _query_parameters(operation: Operation) -> Iterable[dict[str, Any]]:
    kind = operation.query
    if kind is None:
        return
    _, components = msgspec.json.schema_components([kind], ref_template=_REFERENCE)
    for name, schema in components[kind.__name__]["properties"].items():
        yield {"name": name, "in": "query", "schema": _without_null(schema)}


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Leave out null, which no query can say."""
    kept = dict(schema)
    if "default" in kept and kept["default"] is None:
        del kept["default"]
    if "anyOf" in kept:
        choices = [each for each in kept.pop("anyOf") if each != {"type": "null"}]
        kept |= choices[0] if len(choices) == 1 else {"anyOf": choices}
    return kept


def _about(operation: Operation) -> str:
    """Return what there is to know beside the summary: of the operation, and of its query."""
    texts = [operation.description]
    if operation.query is not None and operation.query.__doc__:
        texts.append(inspect.cleandoc(operation.query.__doc__))
    return "\n\n".join(text for text in texts if text)
