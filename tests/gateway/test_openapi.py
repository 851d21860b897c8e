"""The OpenAPI document is right, and what it says is what the server does."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from hubbub.testing.hub import ServedHub
from hubbub_gateway.problems import KINDS
from hubbub_gateway.routes import OPERATIONS

from .conftest import url_of

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
ENDLESS = {"openWebSocket", "readSubscription"}
"""Operations whose answers do not end."""


@pytest.fixture(scope="module")
def api(hub: ServedHub) -> Any:
    return schemathesis.openapi.from_url(f"{url_of(hub)}/openapi.json")


@pytest.mark.parametrize("id_", sorted(each.id for each in OPERATIONS if each.id not in ENDLESS))
def test_the_server_does_what_the_document_says(api: Any, id_: str) -> None:
    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=api.find_operation_by_id(id_).as_strategy())
    def run(case: Any) -> None:
        if case.query:
            case.query.pop("wait", None)
        case.headers.pop("Accept", None)  # of events there is no end
        answer = case.call(timeout=10)
        if "content-security-policy" in answer.headers:  # the body is a message's, whatever it is
            assert answer.status_code == 200
        else:
            case.validate_response(answer, checks=CHECKS)

    run()


def test_every_operation_is_in_the_document(client: httpx.Client) -> None:
    answer = client.get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    document = answer.json()
    assert document["openapi"] == "3.1.0"
    described = {
        operation["operationId"]
        for methods in document["paths"].values()
        for operation in methods.values()
    }
    assert described == {each.id for each in OPERATIONS}
    again = client.get("/openapi.json", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_every_problem_is_explained(client: httpx.Client) -> None:
    listed = client.get("/problems").json()["problems"]
    assert [each["type"] for each in listed] == [f"/problems/{kind}" for kind in KINDS]
    for each in listed:
        assert client.get(each["type"]).json() == each
    assert client.get("/problems/none").status_code == 404
