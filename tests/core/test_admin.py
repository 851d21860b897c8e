"""The admin listener: pages, metrics, health, and what plugins add."""

import json
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
from prometheus_client.parser import text_string_to_metric_families

from hubbub import HttpSettings, Hub, Message, QueueSettings, Request, Response, hookimpl
from hubbub.config import AdminSettings, HubSettings, PluginSettings
from hubbub.hookspecs import HttpRoute

from .hubs import RecordingLog, make_hub, session_of

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


class Pages:
    @hookimpl
    def hubbub_http_routes(self, hub: Hub) -> list[HttpRoute]:
        async def hello(request: Request) -> Response:
            return Response(200, [], b"hello")

        async def below(request: Request) -> Response:
            return Response(200, [], request.path.encode())

        async def broken(request: Request) -> Response:
            raise ZeroDivisionError

        return [
            HttpRoute("GET", "/hello", hello, title="Say <hello>"),
            HttpRoute("POST", "/hello", below),
            HttpRoute("GET", "/tree/", below),
            HttpRoute("GET", "/broken", broken),
        ]


def admin_hub(*, log: Any = None, **settings: Any) -> Hub:
    admin = AdminSettings.model_validate({"listener": {"bind": ["127.0.0.1:0"]}})
    return make_hub({"pages": Pages()}, log=log, admin=admin, **settings)


@asynccontextmanager
async def browsing(hub: Hub) -> AsyncIterator[httpx.AsyncClient]:
    (endpoint,) = hub.endpoints
    async with httpx.AsyncClient(base_url=endpoint.url) as client:
        yield client


async def test_pages() -> None:
    log = RecordingLog()
    async with (hub := admin_hub(log=log)).running(), browsing(hub) as client:
        first = await client.get("/")
        assert first.status_code == 200
        assert hub.endpoints[0].url in first.text
        assert '<a href="/hello">Say &lt;hello&gt;</a>' in first.text
        assert (await client.get("/hello")).text == "hello"
        assert (await client.post("/hello")).text == "/hello"
        assert (await client.get("/tree/a/b")).text == "/tree/a/b"
        head = await client.head("/hello")
        assert (head.status_code, head.text) == (200, "")
        assert (await client.get("/nowhere")).status_code == 404
        wrong = await client.delete("/hello")
        assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, POST")
        assert (await client.get("/broken")).status_code == 500
        assert log.told("error") == ["request failed"]
        assert (await client.get("/healthz")).text == "ok\n"


async def test_http_is_counted_by_listener() -> None:
    async with (hub := admin_hub()).running(), browsing(hub) as client:
        for path in ("/broken", "/healthz"):
            await client.get(path)
        lines = (await client.get("/metrics")).text.splitlines()
        assert 'hubbub_http_requests_total{listener="admin"} 3.0' in lines
        assert 'hubbub_http_crashes_total{listener="admin"} 1.0' in lines


@pytest.mark.parametrize("http2", [True, False])
async def test_a_hub_offers_http2_by_tls_unless_it_is_turned_off(
    http2: bool, tmp_path: Path
) -> None:
    authority = trustme.CA()
    certificate = tmp_path / "cert.pem"
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(str(certificate))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    listener = {"bind": ["127.0.0.1:0"], "tls": {"certificate": str(certificate)}}
    admin = AdminSettings.model_validate({"listener": listener})
    hub = make_hub(admin=admin, http=HttpSettings(http2=http2))
    async with hub.running(), httpx.AsyncClient(http2=True, verify=context) as client:
        answer = await client.get(f"{hub.endpoints[0].url}/healthz")
        assert (answer.text, answer.http_version) == ("ok\n", "HTTP/2" if http2 else "HTTP/1.1")


@pytest.mark.parametrize("path", ["/", "/metrics", "/healthz", "/readyz"])
async def test_the_hubs_own_pages_are_only_read(path: str) -> None:
    async with (hub := admin_hub()).running(), browsing(hub) as client:
        answer = await client.post(path)
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


async def test_readiness_tells_of_a_store_that_fails() -> None:
    log = RecordingLog()
    async with (hub := admin_hub(log=log)).running(), browsing(hub) as client:
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()["ready"]) == (200, True)
        assert ready.json()["plugins"]["pages"] == "running"
        hub.store_changed(False, "the disk is full")
        unready = await client.get("/readyz")
        assert unready.status_code == 503
        assert unready.json()["reasons"] == ["the store can't write: the disk is full"]
        assert "the disk is full" in (await client.get("/")).text
        assert (await client.get("/healthz")).status_code == 200
        hub.store_changed(True, "")
        assert (await client.get("/readyz")).status_code == 200
    assert log.told("error") == ["the store can't write"]


async def test_all_metrics_are_there_and_in_the_documentation(tmp_path: Path) -> None:
    hub = admin_hub(hub=HubSettings(data=tmp_path, durability="os"))
    async with hub.running(), browsing(hub) as client:
        with session_of(hub) as session:
            await session.create_queue("orders", QueueSettings())
            publication = session.publish(
                [
                    Message(address="$queue/orders", body=b"one"),
                    Message(address="a", body=b"two", retain=True),
                ]
            )
            await publication.commit.wait()
            session.subscribe("a", lambda batch: None)
            session.lossy("headers")
            session.lost("example", 2, "a")
            text = (await client.get("/metrics")).text
    families = {each.name: each for each in text_string_to_metric_families(text)}
    ours = {name for name in families if name.startswith("hubbub_")}
    documented = set(re.findall(r"`(hubbub_\w+?)(?:_total)?`", OPERATIONS.read_text()))
    assert documented == ours

    def value(name: str, **labels: str) -> float:
        family = families[name]
        (found,) = [
            each.value
            for each in family.samples
            if each.labels == labels and each.name in {name, f"{name}_total", f"{name}_count"}
        ]
        return found

    assert value("hubbub_published", protocol="test-1") == 2
    assert value("hubbub_clients", protocol="test-1") == 1
    assert value("hubbub_sent", kind="queue") == 1
    assert value("hubbub_sent", kind="topic") == 1
    assert value("hubbub_lossy", protocol="test-1", field="headers") == 1
    assert value("hubbub_dropped", reason="example") == 2
    assert value("hubbub_queue_messages", realm="default", queue="orders", state="visible") == 1
    assert value("hubbub_messages") == 1
    assert value("hubbub_memory_bytes") >= 3
    assert value("hubbub_backlog_bytes") == 0
    assert value("hubbub_retained") == 1
    assert value("hubbub_subscriptions") == 1
    assert value("hubbub_commit_seconds") >= 1
    assert value("hubbub_listener_open", listener="admin") == 1
    assert value("hubbub_plugin_state", plugin="pages", state="running") == 1


async def test_it_can_be_turned_off() -> None:
    hub = admin_hub(plugins=PluginSettings(enable=[], disable=["admin"]))
    async with hub.running():
        assert hub.endpoints == []


async def test_json_is_json() -> None:
    async with (hub := admin_hub()).running(), browsing(hub) as client:
        answer = await client.get("/readyz")
        assert answer.headers["content-type"] == "application/json"
        assert json.loads(answer.text)["reasons"] == []
