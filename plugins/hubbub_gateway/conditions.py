"""Conditional requests: who has what there is already gets nothing (RFC 9110, 13)."""

from __future__ import annotations

from hubbub import Request, Response


def answer_unless_known(request: Request, response: Response, tag: str) -> Response:
    """Give an answer its entity tag, or 304 if the client has that version (`If-None-Match`).

    `tag` is without its quotes.
    """
    etag = f'"{tag}"'
    known = {each.removeprefix("W/") for each in request.headers.get_list("if-none-match")}
    if etag in known or "*" in known:
        return Response(304, [("ETag", etag)])
    return Response(response.status, [*response.headers, ("ETag", etag)], response.body)
