import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import pytest
from prometheus_client.parser import text_string_to_metric_families

from hubbub.engine.contract import Queue, QueueCounts
from hubbub.hookspecs import Transform, hookimpl
from hubbub.http import HttpStats
from hubbub.metrics import Meters, Timings, health_page, ready_page
from hubbub.plugins import PluginManager, State

Labels = dict[str, str]


def scrape(meters: Meters) -> dict[str, list[tuple[Labels, float]]]:
    """Read the page as Prometheus does: samples by name."""
    page = meters.page()
    assert page.status == 200
    found: dict[str, list[tuple[Labels, float]]] = {}
    for family in text_string_to_metric_families(page.body.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((dict(sample.labels), sample.value))
    return found


@dataclass
class Stats:
    open: int = 0
    accepted: int = 0
    bytes_in: int = 0


class FakeQueue:
    def __init__(self, name: str, counts: QueueCounts, realm: str = "default") -> None:
        self.name, self.realm, self._counts = name, realm, counts

    def counts(self) -> QueueCounts:
        return self._counts


def queues(*fakes: FakeQueue) -> Callable[[], list[Queue]]:
    return lambda: cast("list[Queue]", list(fakes))


class Some:
    @hookimpl
    def hubbub_transforms(self) -> dict[str, Transform]:
        return {}


def test_protocols() -> None:
    meters = Meters()
    meter = meters.protocol("mqtt-5")
    assert meters.protocol("mqtt-5") is meter
    meter.published += 3
    meter.clients = 2
    meter.lossy["headers"] = 4
    meters.protocol("sqs").published += 1
    meters.drop("overflow", 7)
    meters.drop("overflow", 1)
    found = scrape(meters)
    assert found["hubbub_published_total"] == [
        ({"protocol": "mqtt-5"}, 3),
        ({"protocol": "sqs"}, 1),
    ]
    assert ({"protocol": "mqtt-5"}, 2) in found["hubbub_clients"]
    assert found["hubbub_lossy_total"] == [({"protocol": "mqtt-5", "field": "headers"}, 4)]
    assert found["hubbub_dropped_total"] == [({"reason": "overflow"}, 8)]
    assert "process_resident_memory_bytes" in found


def test_labels_stay_few() -> None:
    meters = Meters()
    for number in range(5_000):
        meters.drop(f"reason {number}", 1)
        meters.protocol(f"protocol {number}").published += 1
    found = scrape(meters)
    assert len(found["hubbub_dropped_total"]) == 1_001
    assert sum(value for _, value in found["hubbub_dropped_total"]) == 5_000
    assert len(found["hubbub_published_total"]) == 1_001
    assert sum(value for _, value in found["hubbub_published_total"]) == 5_000


def test_http_is_counted_beside_its_listener() -> None:
    meters = Meters()
    for _ in range(2):
        with meters.listener("web", Stats(accepted=1)), meters.http("web", HttpStats(requests=5)):
            pass
    found = scrape(meters)
    assert found["hubbub_http_requests_total"] == [({"listener": "web"}, 10)]
    assert found["hubbub_http_crashes_total"] == [({"listener": "web"}, 0)]
    assert found["hubbub_listener_accepted_total"] == [({"listener": "web"}, 2)]


def test_a_listeners_counts_go_on_after_a_restart() -> None:
    meters = Meters()
    with meters.listener("mqtt", Stats(open=2, accepted=5)), meters.listener("ws", Stats()):
        found = scrape(meters)
        assert ({"listener": "mqtt"}, 2) in found["hubbub_listener_open"]
        assert ({"listener": "mqtt"}, 5) in found["hubbub_listener_accepted_total"]
        assert ({"listener": "ws"}, 0) in found["hubbub_listener_accepted_total"]
    with meters.listener("mqtt", Stats(open=1, accepted=3)):
        found = scrape(meters)
        assert ({"listener": "mqtt"}, 8) in found["hubbub_listener_accepted_total"]
        assert ({"listener": "mqtt"}, 1) in found["hubbub_listener_open"]
    found = scrape(meters)
    assert ({"listener": "mqtt"}, 8) in found["hubbub_listener_accepted_total"]


def test_queues_and_those_beyond_the_limit() -> None:
    meters = Meters()
    counts = QueueCounts(5, 2, 1, 100, 3, 1_500)
    later = QueueCounts(1, 1, 1, 10, 1, 9_000)
    empty = QueueCounts(0, 0, 0, 0, 0, None)
    meters.show_queues(
        queues(
            FakeQueue("a", counts), FakeQueue("b", empty), FakeQueue("c", later),
            FakeQueue("d", counts, realm="other"),
        ),
        limit=2,
    )  # fmt: skip
    found = scrape(meters)
    a, rest = {"realm": "default", "queue": "a"}, {"realm": "(other)", "queue": "(other)"}
    assert found["hubbub_queues"] == [({}, 4)]
    assert found["hubbub_queue_messages"][:3] == [
        ({**a, "state": "visible"}, 5),
        ({**a, "state": "in_flight"}, 2),
        ({**a, "state": "delayed"}, 1),
    ]
    assert ({**rest, "state": "visible"}, 6) in found["hubbub_queue_messages"]
    assert (rest, 110) in found["hubbub_queue_bytes"]
    assert (rest, 4) in found["hubbub_queue_consumers"]
    assert found["hubbub_queue_oldest_timestamp_seconds"] == [(a, 1.5), (rest, 1.5)]


def test_plugins() -> None:
    manager = PluginManager(plugins={"some": Some()}, installed=())
    manager.failed("some", OSError(), during="testing")
    manager["some"].restarts = 2
    manager["some"].state = State.RESTARTING
    meters = Meters()
    meters.show_plugins(manager)
    found = scrape(meters)
    assert found["hubbub_plugin_state"] == [({"plugin": "some", "state": "restarting"}, 1)]
    assert found["hubbub_plugin_failures_total"] == [({"plugin": "some"}, 1)]
    assert found["hubbub_plugin_restarts_total"] == [({"plugin": "some"}, 2)]


def test_values_and_timings() -> None:
    meters = Meters()
    backlog = [5]
    meters.gauge("store_backlog", "Batches.", lambda: backlog[0])
    meters.counter("store_batches", "Batches.", lambda: 9)
    timings = meters.timings("commit_seconds", "Commits.", bounds=(0.01, 0.1))
    for seconds in (0.001, 0.01, 0.05, 7):
        timings.observe(seconds)
    backlog[0] = 6
    found = scrape(meters)
    assert found["hubbub_store_backlog"] == [({}, 6)]
    assert found["hubbub_store_batches_total"] == [({}, 9)]
    assert found["hubbub_commit_seconds_bucket"] == [
        ({"le": "0.01"}, 2),
        ({"le": "0.1"}, 3),
        ({"le": "+Inf"}, 4),
    ]
    assert found["hubbub_commit_seconds_count"] == [({}, 4)]
    assert found["hubbub_commit_seconds_sum"][0][1] == pytest.approx(7.061)


def test_a_timing_on_the_bound_is_within_it() -> None:
    timings = Timings((1.0, 2.0))
    timings.observe(1.0)
    assert timings.counts == [1, 0, 0]


def test_two_hubs_share_no_metrics() -> None:
    one, two = Meters(), Meters()
    one.drop("x", 1)
    assert "hubbub_dropped_total" in scrape(one)
    assert "hubbub_dropped_total" not in scrape(two)


def test_content_types() -> None:
    assert Meters().page().content_type.startswith("text/plain; version=")
    accept = "application/openmetrics-text; version=1.0.0"
    page = Meters().page(accept)
    assert page.content_type.startswith("application/openmetrics-text")
    assert page.body.endswith(b"# EOF\n")


def test_health_and_readiness() -> None:
    assert health_page() == (200, "text/plain; charset=utf-8", b"ok\n")
    manager = PluginManager(plugins={"some": Some()}, installed=())
    good, bad = ready_page([], manager), ready_page(["the disk is full"], manager)
    assert (good.status, bad.status) == (200, 503)
    body: dict[str, Any] = json.loads(bad.body)
    assert body == {
        "ready": False,
        "reasons": ["the disk is full"],
        "plugins": {"some": "loaded"},
    }


def test_prometheus_is_not_imported_before_the_first_scrape() -> None:
    code = (
        "import sys; from hubbub.metrics import Meters; Meters().drop('x', 1); "
        "assert 'prometheus_client' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
