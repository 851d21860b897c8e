"""Who may connect, from where, and what they may do."""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator

import pytest
from websockets.exceptions import InvalidStatus

from hubbub.config import load_config
from hubbub.testing import ServedHub, serve_in_thread
from tests.gateway.conftest import SETTINGS

from .conftest import Client

CONFIG = """
[auth]
anonymous = "never"

[gateway.cors]
origins = ["https://app.example.com"]

[[users]]
name = "ann"
password = "secret"
tokens = ["ann's token"]
permissions = [
    { action = ["*"], resource = ["mine/#", "$queue/mine/#"] },
    { action = ["publish"], resource = ["$queue/theirs"] },
]

[[users]]
name = "bob"
tokens = ["bob's token"]
realms = ["bobs"]
"""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedHub]:
    path = tmp_path_factory.mktemp("guarded") / "hubbub.toml"
    path.write_text(CONFIG)
    with serve_in_thread(load_config(path, settings=SETTINGS)) as hub:
        yield hub


@pytest.fixture
def url(guarded: ServedHub) -> str:
    return guarded.endpoint("WebSocket").url


def token_of(text: str) -> str:
    return "hubbub.bearer." + urlsafe_b64encode(text.encode()).decode().rstrip("=")


BASIC = b64encode(b"ann:secret").decode()


@pytest.mark.parametrize(
    ("headers", "offer", "query", "hello", "user"),
    [
        ({"Authorization": "Bearer ann's token"}, (), "", {}, "ann"),
        ({"Authorization": f"Basic {BASIC}"}, (), "", {}, "ann"),
        ({}, (token_of("ann's token"),), "", {}, "ann"),
        ({}, (), "?access_token=ann%27s+token", {}, "ann"),
        ({}, (), "", {"token": "ann's token"}, "ann"),
        ({}, (), "", {"username": "ann", "password": "secret"}, "ann"),
        ({"Authorization": f"Basic {BASIC}"}, (), "", {"token": "bob's token"}, "bob"),
    ],
    ids=["bearer", "basic", "subprotocol", "query", "hello token", "hello password", "hello wins"],
)
def test_who_a_client_is(
    url: str,
    headers: dict[str, str],
    offer: tuple[str, ...],
    query: str,
    hello: dict[str, str],
    user: str,
) -> None:
    client = Client(url + query, headers=headers, offer=offer)
    welcome = client.hello(**hello)
    assert client.socket.subprotocol == "hubbub.v1"
    assert (welcome["user"], welcome["realm"]) == (user, "default" if user == "ann" else "bobs")
    client.close()


@pytest.mark.parametrize(
    ("headers", "offer", "query", "status"),
    [
        ({"Authorization": "Bearer nobody's"}, (), "", 401),
        ({"Authorization": "Basic ?"}, (), "", 401),
        ({"Authorization": "Digest x"}, (), "", 401),
        ({}, (token_of("nobody's"),), "", 401),
        ({}, ("hubbub.bearer.*",), "", 400),
        ({}, (), "?access_token=nobody", 401),
        ({"Authorization": "Bearer ann's token"}, (), "?realm=bobs", 403),
        ({"Authorization": "Bearer ann's token"}, (), "?x=1", 400),
        ({"Origin": "https://evil.example.com"}, (), "", 403),
        ({"Origin": "null"}, (), "", 403),
    ],
)
def test_handshakes_that_are_refused(
    url: str, headers: dict[str, str], offer: tuple[str, ...], query: str, status: int
) -> None:
    with pytest.raises(InvalidStatus) as caught:
        Client(url + query, headers=headers, offer=offer)
    assert caught.value.response.status_code == status
    assert caught.value.response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("hello", "code", "detail"),
    [
        ({}, 4401, "without credentials"),
        ({"token": "nobody's"}, 4401, "not known"),
        ({"username": "ann", "password": "wrong"}, 4401, "not known"),
    ],
)
def test_hellos_that_are_refused(url: str, hello: dict[str, str], code: int, detail: str) -> None:
    client = Client(url)
    problem = client.refused("hello", **hello)
    assert detail in problem["detail"]
    assert problem["type"] == "/problems/unauthenticated"
    assert client.closed() == (code, problem["detail"][:123])
    client.close()


def test_a_page_that_may_connect(url: str) -> None:
    client = Client(url, headers={"Origin": "https://app.example.com"})
    assert client.hello(token="ann's token")["user"] == "ann"
    client.close()


def test_a_realm_that_hello_may_not_enter(url: str) -> None:
    client = Client(f"{url}?realm=bobs")
    assert client.refused("hello", token="ann's token")["type"] == "/problems/forbidden"
    assert client.closed()[0] == 4403
    client.close()


@pytest.mark.parametrize(
    ("op", "members"),
    [
        ("publish", {"to": "other"}),
        ("publish", {"to": "$queue/other"}),
        ("publish", {"to": "$queue/theirs"}),  # it would have to be created
        ("subscribe", {"pattern": "other/#"}),
        ("subscribe", {"pattern": "#", "ack": True}),
        ("consume", {"queue": "theirs"}),
        ("read", {"stream": "other"}),
    ],
)
def test_what_is_not_allowed(url: str, op: str, members: dict[str, object]) -> None:
    client = Client(url)
    client.hello(token="ann's token", session="s")
    problem = client.refused(op, **members)
    assert problem["type"] in {"/problems/forbidden", "/problems/not-found"}
    client.quiet()
    client.done("subscribe", pattern="mine/#", ack=True, subscription="kept")
    client.done("publish", to="mine/a")
    client.message()
    client.done("unsubscribe", subscription="kept")
    client.close()


def test_sessions_of_users_are_apart(url: str) -> None:
    ann, bob = Client(url), Client(url)
    ann.hello(token="ann's token", session="shared")
    ann.done("subscribe", pattern="mine/a", ack=True)
    assert "resumed" not in bob.hello(token="bob's token", session="shared")
    ann.quiet()
    ann.done("unsubscribe", subscription="1")
    ann.close()
    bob.close()
