"""One request on its way through the API: who sends it, what it asks for."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import parse_qsl

import msgspec

from hubbub import Principal, Request, Session

from .authentication import PROTOCOL
from .durations import milliseconds
from .problems import Problem
from .reserved import is_reserved

if TYPE_CHECKING:
    from .gateway import Gateway
    from .operations import Operation

S = TypeVar("S", bound=msgspec.Struct)


class NoOptions(msgspec.Struct):
    """The query of an operation that takes none."""


class Call:
    """A request that was authenticated, with the operation that it is for."""

    __slots__ = ("gateway", "levels", "operation", "query", "realm", "request", "sender")

    def __init__(
        self,
        gateway: Gateway,
        request: Request,
        operation: Operation,
        levels: Mapping[str, tuple[str, ...]],
        query: list[tuple[str, str]],
        sender: Principal | None,
        realm: str,
    ) -> None:
        self.gateway = gateway
        self.request = request
        self.operation = operation
        self.levels = levels
        """The values of the path's parameters, decoded, each a list of levels."""
        self.query = query
        """The parameters of the query, without those that say who sends it."""
        self.sender = sender
        """Who sends it; None: nobody, which only an operation that `greets` is asked for."""
        self.realm = realm
        """The realm it enters; for an operation that `greets`, the one it names, if any."""

    @property
    def principal(self) -> Principal:
        """Who sends it."""
        assert self.sender is not None
        return self.sender

    @property
    def session(self) -> Session:
        """The principal's handle on the bus, which all its requests share."""
        return self.gateway.session(self.principal, self.realm)

    def connection_session(self) -> Session:
        """Make a handle on the bus for this request alone, which goes on for long.

        Use it as a context manager.
        """
        return self.gateway.new_session(
            self.principal,
            self.realm,
            protocol=PROTOCOL,
            client=f"{PROTOCOL}/{self.principal.name}/{secrets.token_urlsafe(9)}",
            peer=self.request.peer,
        )

    def parameter(self, name: str) -> str:
        """Return the value of a path's parameter that is one level."""
        return self.levels[name][0]

    def queue_name(self) -> str:
        """Return the name of the queue that the path names.

        Raises:
            Problem: 403, it is another client's own, such as the queue of an MQTT session.
        """
        name = self.parameter("name")
        if is_reserved(name):
            raise Problem("forbidden", f"The queue {name!r} is another client's own.")
        return name

    def duration(self, name: str, value: float | str, most: float | None = None) -> int:
        """Return a duration that the query gives in milliseconds; `most` is in seconds.

        Raises:
            Problem: 400, it is too long.
        """
        found = milliseconds(value)
        if most is not None and found > most * 1000:
            raise Problem("bad-request", f"`{name}` is at most {most:g} seconds.", parameter=name)
        return found

    def options(self, kind: type[S]) -> S:
        """Read the query.

        Raises:
            Problem: 400, a parameter is unknown or is not what it must be.
        """
        if not self.query:
            return kind()
        values: dict[str, str | list[str]] = {}
        fields = {each.encode_name: each for each in msgspec.structs.fields(kind)}
        for name, value in self.query:
            if name not in fields:
                known = ", ".join(sorted(fields)) or "none"
                raise Problem(
                    "bad-request",
                    f"There is no query parameter {name[:80]!r}; there are: {known}.",
                    parameter=name[:80],
                )
            if isinstance(fields[name].default_factory, type):  # a list
                values.setdefault(name, [])
                listed = values[name]
                assert isinstance(listed, list)
                listed.append(value)
            elif name in values:
                raise Problem(
                    "bad-request", f"The query parameter {name!r} comes twice.", parameter=name
                )
            else:
                values[name] = value
        try:
            return msgspec.convert(values, kind, strict=False)
        except msgspec.ValidationError as error:
            raise Problem("bad-request", f"Query parameter: {error}") from None


def parse_query(text: str) -> list[tuple[str, str]]:
    """Split a query into its parameters.

    Raises:
        Problem: 400, it is no UTF-8 or has too many.
    """
    try:
        return parse_qsl(
            text.encode("latin-1").decode(), keep_blank_values=True, errors="strict",
            max_num_fields=100,
        )  # fmt: skip
    except ValueError:
        raise Problem(
            "bad-request", "The query is not UTF-8, or has more than 100 parameters."
        ) from None
