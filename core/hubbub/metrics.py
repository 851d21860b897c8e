"""Metrics: plain integers that the data path counts up, read when somebody asks for them.

Nothing of prometheus-client is called per message, nor imported before the first scrape: sessions,
listeners and queues own counters, and `Meters` turns them into text.
"""

import contextlib
import dataclasses
import json
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NamedTuple

from .plugins import PluginManager

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

    from .engine.contract import Queue

_MAX_LABELS = 1_000
_OTHER = "(other)"
"""The label of what is counted together, so that labels stay few."""

_GAUGES = frozenset({"open"})
"""Fields of listeners' statistics that go down again."""


class Page(NamedTuple):
    """An answer for the admin listener."""

    status: int
    content_type: str
    body: bytes


class ProtocolMeter:
    """What the sessions of one protocol have done since the start.

    `clients` is how many there are now. `lossy` counts, by field, what the protocol could not
    carry.
    """

    __slots__ = ("clients", "delivered", "denied", "lossy", "published", "redelivered", "settled")

    def __init__(self) -> None:
        self.clients = 0
        self.published = 0
        self.delivered = 0
        self.redelivered = 0
        self.settled = 0
        self.denied = 0
        self.lossy: dict[str, int] = {}


class Timings:
    """How long something took: a histogram. To be observed per batch, not per message.

    `bounds` are the upper ends of the buckets in seconds, rising.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """Count one that took so long."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds


class _Group:
    """The statistics of what has the same name: of those there are, and of those that were."""

    __slots__ = ("_ended", "_shown")

    def __init__(self) -> None:
        self._shown: list[Any] = []
        self._ended: dict[str, int] = {}

    @contextlib.contextmanager
    def showing(self, stats: Any) -> Iterator[None]:
        self._shown.append(stats)
        try:
            yield
        finally:
            self._shown.remove(stats)
            for key, value in _counts(stats):
                if key not in _GAUGES:
                    self._ended[key] = self._ended.get(key, 0) + value

    def sums(self) -> dict[str, int]:
        sums = dict(self._ended)
        for stats in self._shown:
            for key, value in _counts(stats):
                sums[key] = sums.get(key, 0) + value
        return sums


class Meters:
    """The metrics of one hub."""

    def __init__(self) -> None:
        self.dropped: dict[str, int] = {}
        """Messages given up, by reason."""
        self._protocols: dict[str, ProtocolMeter] = {}
        self._listeners: dict[str, _Group] = {}
        self._http: dict[str, _Group] = {}
        self._values: list[tuple[str, str, bool, Callable[[], float]]] = []
        self._sent: Callable[[], Mapping[str, int]] | None = None
        self._timings: list[tuple[str, str, Timings]] = []
        self._queues: Callable[[], Iterable[Queue]] | None = None
        self._queue_limit = 0
        self._manager: PluginManager | None = None
        self._registry: CollectorRegistry | None = None

    # what counts

    def protocol(self, name: str) -> ProtocolMeter:
        """Return the counters of a protocol (name and version, such as "mqtt-5")."""
        meter = self._protocols.get(name)
        if meter is None:
            if len(self._protocols) >= _MAX_LABELS:
                name = _OTHER
            meter = self._protocols.setdefault(name, ProtocolMeter())
        return meter

    def drop(self, reason: str, count: int) -> None:
        """Count messages given up for a reason."""
        if reason not in self.dropped and len(self.dropped) >= _MAX_LABELS:
            reason = _OTHER
        self.dropped[reason] = self.dropped.get(reason, 0) + count

    def listener(self, name: str, stats: Any) -> AbstractContextManager[None]:
        """Show a listener's statistics (a dataclass of integers) inside the context.

        Afterwards its counts are kept, so that those of the next listener of this name go on from
        there.
        """
        return self._listeners.setdefault(name, _Group()).showing(stats)

    def http(self, name: str, stats: Any) -> AbstractContextManager[None]:
        """Show the statistics of a listener's HTTP server; see `listener`."""
        return self._http.setdefault(name, _Group()).showing(stats)

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Show a value that goes up and down; `name` without "hubbub_"."""
        self._values.append((name, text, False, read))

    def counter(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Show a value that only rises; `name` without "hubbub_" and "_total"."""
        self._values.append((name, text, True, read))

    def timings(
        self,
        name: str,
        text: str,
        bounds: Sequence[float] = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0),
    ) -> Timings:
        """Make and show a histogram in seconds; `name` without "hubbub_"."""
        timings = Timings(bounds)
        self._timings.append((name, text, timings))
        return timings

    def show_sent(self, read: Callable[[], Mapping[str, int]]) -> None:
        """Show how many messages were sent to each kind of resource."""
        self._sent = read

    def show_queues(self, read: Callable[[], Iterable["Queue"]], limit: int) -> None:
        """Show queues: the first `limit` of `read()` one by one, the others together."""
        self._queues = read
        self._queue_limit = limit

    def show_plugins(self, manager: PluginManager) -> None:
        """Show states and failures of plugins."""
        self._manager = manager

    # what it becomes

    def page(self, accept: str = "") -> Page:
        """Return all metrics as text for Prometheus, or OpenMetrics if `accept` asks for it."""
        from prometheus_client.exposition import choose_encoder  # noqa: PLC0415 - takes 85 ms

        encode, content_type = choose_encoder(accept)
        return Page(200, content_type, encode(self.registry))

    @property
    def registry(self) -> "CollectorRegistry":
        """The registry of this hub alone, with the process's own metrics."""
        if self._registry is None:
            from prometheus_client import (  # noqa: PLC0415
                CollectorRegistry,
                GCCollector,
                PlatformCollector,
                ProcessCollector,
            )

            self._registry = CollectorRegistry()
            for collector in (ProcessCollector, PlatformCollector, GCCollector):
                collector(registry=self._registry)
            self._registry.register(self)
        return self._registry

    def collect(self) -> Iterator["Metric"]:
        """Yield the metrics as they are now; prometheus-client calls this."""
        yield from self._collect_protocols()
        yield from _collect_groups(self._listeners, "listener", "Connections of a listener")
        yield from _collect_groups(self._http, "http", "HTTP at a listener")
        if self._sent is not None:
            sent = {(kind,): count for kind, count in self._sent().items()}
            text = "Messages sent to topics, queues and streams, those passed on included."
            yield _family("sent", text, sent, ("kind",), rises=True)
        if self._queues is not None:
            yield from self._collect_queues(self._queues())
        if self._manager is not None:
            yield from self._collect_plugins(self._manager)
        for name, text, rises, read in self._values:
            yield _family(name, text, {(): read()}, (), rises=rises)
        for name, text, timings in self._timings:
            yield _histogram(name, text, timings)

    def _collect_protocols(self) -> Iterator["Metric"]:
        meters = self._protocols
        for key, text in (
            ("published", "Messages published by clients."),
            ("delivered", "Messages handed to clients."),
            ("redelivered", "Messages handed to clients that somebody had received before."),
            ("settled", "Messages accepted, released or rejected by clients."),
            ("denied", "Acts that a principal was not allowed."),
        ):
            values = {(name,): getattr(meter, key) for name, meter in meters.items()}
            yield _family(key, text, values, ("protocol",), rises=True)
        clients = {(name,): meter.clients for name, meter in meters.items()}
        yield _family("clients", "Clients connected now.", clients, ("protocol",))
        lossy = {
            (name, field): count
            for name, meter in meters.items()
            for field, count in list(meter.lossy.items())
        }
        text = "Fields of messages that a protocol could not carry."
        yield _family("lossy", text, lossy, ("protocol", "field"), rises=True)
        dropped = {(reason,): count for reason, count in self.dropped.items()}
        yield _family("dropped", "Messages given up.", dropped, ("reason",), rises=True)

    def _collect_queues(self, queues: Iterable["Queue"]) -> Iterator["Metric"]:
        messages: dict[tuple[str, ...], float] = {}
        size: dict[tuple[str, ...], float] = {}
        consumers: dict[tuple[str, ...], float] = {}
        oldest: dict[tuple[str, ...], float] = {}
        number = 0
        for queue in queues:
            number += 1
            label = (queue.realm, queue.name) if number <= self._queue_limit else (_OTHER, _OTHER)
            counts = queue.counts()
            for state in ("visible", "in_flight", "delayed"):
                key = (*label, state)
                messages[key] = messages.get(key, 0) + getattr(counts, state)
            size[label] = size.get(label, 0) + counts.bytes
            consumers[label] = consumers.get(label, 0) + counts.consumers
            if counts.oldest is not None:
                oldest[label] = min(oldest.get(label, float("inf")), counts.oldest / 1000)
        labels = ("realm", "queue")
        yield _family("queues", "Queues there are.", {(): number}, ())
        yield _family("queue_messages", "Messages in a queue.", messages, (*labels, "state"))
        yield _family("queue_bytes", "Bytes waiting in a queue.", size, labels)
        yield _family("queue_consumers", "Consumers of a queue.", consumers, labels)
        text = "When the oldest waiting message was published."
        yield _family("queue_oldest_timestamp_seconds", text, oldest, labels)

    def _collect_plugins(self, manager: PluginManager) -> Iterator["Metric"]:
        states = {(each.name, each.state.value): 1 for each in manager}
        yield _family("plugin_state", "What a plugin is doing.", states, ("plugin", "state"))
        failures = {(each.name,): each.failures for each in manager}
        text = "Failures of a plugin: at loading, in hooks, in servers."
        yield _family("plugin_failures", text, failures, ("plugin",), rises=True)
        restarts = {(each.name,): each.restarts for each in manager}
        text = "Restarts of a plugin's servers."
        yield _family("plugin_restarts", text, restarts, ("plugin",), rises=True)


def health_page() -> Page:
    """Answer `/healthz`: whoever gets this answer knows that the process is alive."""
    return Page(200, "text/plain; charset=utf-8", b"ok\n")


def ready_page(reasons: Sequence[str], manager: PluginManager) -> Page:
    """Answer `/readyz`: 200 when clients can be served, else 503 with the reasons why not.

    The states of plugins are told too, but one that restarts does not make the rest unready.
    """
    plugins = {plugin.name: plugin.state.value for plugin in manager}
    body = {"ready": not reasons, "reasons": list(reasons), "plugins": plugins}
    return Page(503 if reasons else 200, "application/json", json.dumps(body).encode() + b"\n")


def _collect_groups(groups: Mapping[str, _Group], kind: str, text: str) -> Iterator["Metric"]:
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for name, group in groups.items():
        for key, value in group.sums().items():
            found.setdefault(key, {})[name,] = value
    for key, values in found.items():
        what = f"{text}: {key.replace('_', ' ')}."
        rises = key not in _GAUGES
        yield _family(f"{kind}_{key}", what, values, ("listener",), rises=rises)


def _counts(stats: Any) -> Iterator[tuple[str, int]]:
    for field in dataclasses.fields(stats):
        yield field.name, getattr(stats, field.name)


def _family(
    name: str,
    text: str,
    values: Mapping[Any, float],
    labels: Sequence[str],
    *,
    rises: bool = False,
) -> "Metric":
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily  # noqa: PLC0415

    make = CounterMetricFamily if rises else GaugeMetricFamily
    family = make(f"hubbub_{name}", text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _histogram(name: str, text: str, timings: Timings) -> "Metric":
    from prometheus_client.core import HistogramMetricFamily  # noqa: PLC0415

    buckets: list[Any] = []
    count = 0
    for bound, number in zip((*timings.bounds, "+Inf"), timings.counts, strict=True):
        count += number
        buckets.append((str(bound), count))
    family = HistogramMetricFamily(f"hubbub_{name}", text, labels=())
    family.add_metric((), buckets=buckets, sum_value=timings.total)
    return family
