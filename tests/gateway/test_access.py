"""Who may call: users, realms, permissions, web pages; and what is refused before."""

from __future__ import annotations

import gzip
import json
import socket
import ssl
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
import trustme

from hubbub.config import Config, load_config
from hubbub.testing.hub import ServedHub, serve_in_thread

from .conftest import SETTINGS, TIMEOUT, url_of

SECURED: dict[str, Any] = {
    **SETTINGS,
    "auth": {"anonymous": "never"},
    "gateway": {
        **SETTINGS["gateway"],
        "max_message_bytes": 2000,
        "max_batch": 3,
        "cors": {"origins": ["https://app.example.com", "http://localhost"]},
    },
}
USERS = """
[[users]]
name = "root"
password = "geheim"
tokens = ["root-token"]
realms = ["*"]

[[users]]
name = "reader"
tokens = ["reader-token"]
permissions = [
    { action = "consume", resource = "$queue/shared/#" },
    { action = "subscribe", resource = "news/#" },
]

[[users]]
name = "guest"
tokens = ["guest-token"]
realms = ["other"]

[[users]]
name = "sensor"
certificates = ["sensor"]
"""
ROOT = {"Authorization": "Bearer root-token"}
READER = {"Authorization": "Bearer reader-token"}
GUEST = {"Authorization": "Bearer guest-token"}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedHub]:
    with serve_in_thread(config(tmp_path_factory.mktemp("hub"), SECURED)) as served:
        yield served


def config(folder: Path, settings: dict[str, Any]) -> Config:
    file = folder / "hubbub.toml"
    file.write_text(USERS)
    return load_config(file, settings=settings)


def kind(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    details = answer.json()
    assert details["status"] == answer.status_code
    assert details["title"]
    assert details["detail"]
    return answer.status_code, details["type"].removeprefix("/problems/")


def test_bearer_and_basic(hub: ServedHub, client: httpx.Client, name: str) -> None:
    path = f"/queues/{name}/messages"
    assert client.post(path, content=b"1", headers=ROOT).status_code == 202
    basic = requests.post(url_of(hub) + path, data=b"2", auth=("root", "geheim"), timeout=TIMEOUT)
    assert basic.status_code == 202
    for headers in (
        {},
        {"Authorization": "Bearer nonsense"},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic cm9vdDpmYWxzY2g="},
        {"Authorization": "Basic ???"},
        {"Authorization": "Basic cm9vdA=="},
        {"Authorization": "Digest x"},
    ):
        answer = client.post(path, content=b"no", headers=headers)
        assert kind(answer) == (401, "unauthenticated")
        challenges = answer.headers.get_list("www-authenticate")
        assert [each.partition(" ")[0] for each in challenges] == ["Bearer", "Basic"]
    (first, second) = client.get(path, params={"max": 3}, headers=ROOT).json()["messages"]
    assert first["client"] == second["client"] == "http/root"


def test_a_token_in_the_query_is_for_events_alone(client: httpx.Client, name: str) -> None:
    query = {"access_token": "root-token"}
    assert kind(client.get("/queues", params=query)) == (401, "unauthenticated")
    assert kind(client.get(f"/topics/{name}", params=query)) == (401, "unauthenticated")
    with client.stream(
        "GET", f"/topics/{name}", params=query, headers={"Accept": "text/event-stream"}
    ) as answer:
        assert answer.status_code == 200


def test_permissions(client: httpx.Client, name: str) -> None:
    own = f"shared%2F{name}"
    for queue in (own, name):
        client.post(f"/queues/{queue}/messages", content=b"x", headers=ROOT)
    assert client.get(f"/queues/{own}/messages", headers=READER).status_code == 200
    assert client.get(f"/queues/{own}", headers=READER).status_code == 200
    token = client.get(f"/queues/{name}/messages", headers=ROOT).json()["messages"][0]["lease"]
    for method, path in (
        ("POST", f"/queues/{own}/messages"),
        ("GET", f"/queues/{name}/messages"),
        ("GET", f"/queues/{name}"),
        ("PUT", f"/queues/{own}"),
        ("DELETE", f"/queues/{own}"),
        ("DELETE", f"/queues/{own}/messages"),
        ("DELETE", f"/queues/{name}/messages/{token}"),
        ("POST", f"/queues/{name}/messages/{token}/release"),
        ("POST", f"/topics/news/{name}"),
        ("GET", f"/topics/secret/{name}"),
        ("PUT", f"/streams/{name}"),
        ("GET", f"/streams/{name}/records"),
        ("POST", f"/streams/{name}/records"),
    ):
        assert kind(client.request(method, path, headers=READER)) == (403, "forbidden"), path
    listed = client.get("/queues", headers=READER).json()["queues"]
    assert [each["name"] for each in listed] == [f"shared/{name}"]
    events = {"Accept": "text/event-stream", **READER}
    assert kind(client.get("/topics/%23", headers=events)) == (403, "forbidden")
    form = {"pattern": f"news/{name}"}
    mine = client.put(f"/subscriptions/{name}", json=form, headers=READER)
    assert mine.status_code == 201
    assert kind(client.put(f"/subscriptions/{name}", json={"pattern": "#"}, headers=READER)) == (
        403,
        "forbidden",
    )
    with client.stream("GET", f"/subscriptions/{name}/events", headers=READER) as answer:
        assert answer.status_code == 200
    assert client.get(f"/subscriptions/{name}", headers=ROOT).status_code == 404


def test_realms(client: httpx.Client, name: str) -> None:
    path = f"/queues/{name}/messages"
    client.post(path, content=b"other", headers=GUEST)
    assert client.get(path, headers=ROOT).status_code == 404
    for sent in ({"headers": {**ROOT, "Hubbub-Realm": "other"}},
                 {"headers": ROOT, "params": {"realm": "other"}}):  # fmt: skip
        found = client.get(path, **sent)  # type: ignore[arg-type]
        assert found.status_code == 200
    assert kind(client.get(path, headers={**GUEST, "Hubbub-Realm": "default"})) == (
        403,
        "forbidden",
    )


def test_web_pages(client: httpx.Client, name: str) -> None:
    path = f"/queues/{name}/messages"
    page = {"Origin": "https://app.example.com"}
    asked = client.options(
        path,
        headers={
            **page,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,hubbub-type",
        },
    )
    assert asked.status_code == 204
    assert asked.headers["access-control-allow-origin"] == "https://app.example.com"
    assert "POST" in asked.headers["access-control-allow-methods"]
    assert asked.headers["access-control-allow-headers"] == "authorization,hubbub-type"
    assert asked.headers["access-control-max-age"] == "600"
    assert "access-control-allow-credentials" not in asked.headers
    sent = client.post(path, content=b"x", headers={**page, **ROOT})
    assert sent.status_code == 202
    assert sent.headers["access-control-allow-origin"] == "https://app.example.com"
    assert "Origin" in sent.headers["vary"]
    refused = client.get(path, params={"max": "x"}, headers={**page, **ROOT})
    assert kind(refused) == (400, "bad-request")
    assert refused.headers["access-control-allow-origin"] == "https://app.example.com"
    assert client.get("/queues", headers={"Origin": "http://localhost:5173", **ROOT}).is_success
    for headers in (
        {"Origin": "https://evil.example.com"},
        {"Origin": "http://app.example.com"},
        {"Origin": "null"},
        {"Origin": "http://rebound.example.com", "Host": "rebound.example.com"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        answer = client.get(path, headers={**headers, **ROOT})
        assert kind(answer) == (403, "origin")
        assert "access-control-allow-origin" not in answer.headers
    assert kind(client.options(path, headers={"Origin": "https://evil.example.com"}))[0] == 403
    own = {"Origin": str(client.base_url).rstrip("/")}
    assert client.get("/queues", headers={**own, **ROOT}).is_success


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:80", "[::1]:8080", "a.localhost", "box"])
def test_names_of_this_machine(host: str) -> None:
    settings = {**SETTINGS, "gateway": {**SETTINGS["gateway"], "host_names": ["box"]}}
    with (
        serve_in_thread(load_config(settings=settings)) as hub,
        httpx.Client(base_url=url_of(hub), timeout=TIMEOUT) as client,
    ):
        assert client.get("/queues", headers={"Host": host}).status_code == 200
        for wrong in ("rebound.example.com", "box.example.com", "localhost.example.com:80"):
            assert kind(client.get("/queues", headers={"Host": wrong})) == (421, "wrong-host")


def test_limits(client: httpx.Client, name: str) -> None:
    path = f"/queues/{name}/messages"
    assert kind(client.post(path, content=b"x" * 2001, headers=ROOT)) == (413, "too-large")
    entries: list[Any] = [{"body": "x"}] * 4
    many = client.post(path, params={"form": "json"}, json=entries, headers=ROOT)
    assert kind(many) == (413, "too-large")
    entries = [{"body": "x" * 2001}, {"body": "x"}]
    large = client.post(path, params={"form": "json"}, json=entries, headers=ROOT).json()
    assert large["results"][0]["problem"]["type"] == "/problems/too-large"
    assert "id" in large["results"][1]
    assert kind(client.get(path, params={"max": 4}, headers=ROOT)) == (400, "bad-request")
    client.put(f"/queues/{name}-small", json={"max_message_bytes": 10}, headers=ROOT)
    small = f"/queues/{name}-small/messages"
    assert kind(client.post(small, content=b"x" * 11, headers=ROOT)) == (413, "too-large")
    client.put(f"/queues/{name}-full", json={"max_length": 1, "overflow": "reject"}, headers=ROOT)
    full = f"/queues/{name}-full/messages"
    assert client.post(full, content=b"x", headers=ROOT).status_code == 202
    answer = client.post(full, content=b"x", headers=ROOT)
    assert kind(answer) == (429, "refused")
    assert answer.headers["retry-after"] == "1"


def test_media_types(client: httpx.Client, name: str) -> None:
    path = f"/queues/{name}"
    text = {**ROOT, "Content-Type": "text/plain"}
    assert kind(client.put(path, content=b"{}", headers=text)) == (415, "media-type")
    packed = {**ROOT, "Content-Type": "application/json", "Content-Encoding": "gzip"}
    answer = client.put(path, content=gzip.compress(b"{}"), headers=packed)
    assert kind(answer) == (415, "media-type")
    assert answer.headers["accept-encoding"] == "identity"
    lines = {**packed, "Content-Type": "application/x-ndjson"}
    body = gzip.compress(b'{"body":"x"}')
    assert kind(client.post(path + "/messages", content=body, headers=lines))[0] == 415
    answer = client.post(path + "/messages?form=json", content=b"{}", headers=text)
    assert kind(answer)[0] == 415
    for body in (b"{", b"[]", b'{"lease": -1}', b'{"nonsense": 1}', b"\xff", b"[" * 100_000):
        sent = client.put(path, content=body, headers={**ROOT, "Content-Type": "application/json"})
        assert kind(sent) == (400, "bad-message")
    for wrong in ("a/#/b", "a#", "$queue", "$stream/#", ""):
        sent = client.put(path, json={"dead_letter": wrong}, headers=ROOT)
        assert kind(sent) == (400, "bad-address"), wrong


def test_paths_and_methods(hub: ServedHub, client: httpx.Client) -> None:
    for path in ("/", "/queues/", "/nothing", "/queues/a/b/c/d", "/topics/"):
        assert kind(client.get(path, headers=ROOT)) == (404, "not-found"), path
        assert kind(client.options(path)) == (404, "not-found")
    for method, path, allowed in (
        ("POST", "/queues/a", "DELETE, GET, HEAD, OPTIONS, PATCH, PUT"),
        ("PUT", "/queues", "GET, HEAD, OPTIONS"),
        ("TRACE", "/topics/a", "DELETE, GET, HEAD, OPTIONS, POST"),
        ("PUT", "/queues/a/messages", "DELETE, GET, OPTIONS, POST"),
    ):
        answer = client.request(method, path, headers=ROOT)
        assert kind(answer) == (405, "method")
        assert answer.headers["allow"] == allowed
        assert client.options(path).headers["allow"] == allowed
    whole = HTTPConnection(*hub.address("HTTP"), timeout=TIMEOUT)
    whole.request("OPTIONS", "*")
    assert whole.getresponse().status == 204
    whole.close()
    for query in ("%ff=1", "&".join(f"a{number}=1" for number in range(200))):
        assert kind(client.get(f"/queues?{query}", headers=ROOT)) == (400, "bad-request")
    assert kind(client.get("/openapi.json?x=1", headers=ROOT)) == (400, "bad-request")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nBad header\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
    ],
)
def test_requests_that_are_no_http_are_problems_too(
    hub: ServedHub, request_: bytes, status: int
) -> None:
    with socket.create_connection(hub.address("HTTP"), TIMEOUT) as raw:
        raw.sendall(request_)
        answer = HTTPResponse(raw)
        answer.begin()
        assert answer.headers["Content-Type"] == "application/problem+json"
        details = json.loads(answer.read())
    assert details["status"] == answer.status
    assert answer.status == status
    assert details["detail"]


def test_compression_where_it_is_asked_for(client: httpx.Client, name: str) -> None:
    body = json.dumps({"text": "tea " * 400})
    path = f"/topics/{name}"
    client.post(path + "?retain=true", content=body, headers=ROOT)
    query = {"pattern": name}
    asked = {**ROOT, "Accept-Encoding": "gzip"}
    packed = client.get("/topics", params=query, headers=asked)
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.json()["messages"][0]["body"] == body
    plain = client.get("/topics", params=query, headers={**ROOT, "Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    raw = client.get(path, headers=asked)
    assert "content-encoding" not in raw.headers
    assert raw.text == body


def test_tls_and_certificates_of_clients(tmp_path: Path) -> None:
    authority = trustme.CA()
    server = authority.issue_cert("127.0.0.1")
    server.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    mine = authority.issue_cert("sensor@example.com", common_name="sensor")
    mine.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "client.pem"))
    tls = {
        "certificate": str(tmp_path / "server.pem"),
        "client_ca": str(tmp_path / "ca.pem"),
        "client_certificate": "optional",
    }
    settings = {
        **SETTINGS,
        "auth": {"anonymous": "never"},
        "gateway": {"listener": {"bind": ["127.0.0.1:0"], "tls": tls}},
    }
    context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    with serve_in_thread(config(tmp_path, settings)) as hub:
        assert url_of(hub).startswith("https://")
        with httpx.Client(base_url=url_of(hub), verify=context, timeout=TIMEOUT) as unknown:
            assert kind(unknown.get("/queues")) == (401, "unauthenticated")
        context.load_cert_chain(str(tmp_path / "client.pem"))
        with httpx.Client(base_url=url_of(hub), verify=context, timeout=TIMEOUT) as client:
            assert client.post("/queues/q/messages", content=b"x").status_code == 202
            (message,) = client.get("/queues/q/messages").json()["messages"]
            assert message["client"] == "http/sensor"
