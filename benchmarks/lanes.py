"""The lanes: what is measured, and what of it is shown."""

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from . import generator
from .deep_stream import DeepStream, percentile
from .processes import BenchmarkError, Running, machine_cpu, usage

Figures = dict[str, float]

SETTLE_SECONDS = 1.0
IDLE_SECONDS = 2.0
RECEIVE_SECONDS = 20.0
RECORD_BYTES = 100
FINDS, FIND_RECORDS = 300, 100
"""How often a time is looked for, and how many records are read there."""
SCAN_SECONDS, SCAN_RECORDS = 10.0, 1000
"""How long a stream is read from its beginning, and how many records at a time."""
SETUP_DEADLINE = 120.0
"""Seconds a load may take beside what it measures."""


@dataclass(frozen=True)
class Settings:
    """What the command line decides about the lanes."""

    program: Path
    seconds: float = 3.0
    warm: float = 1.0
    depth: int = 1_000_000
    records: int = 10_000_000
    peer_depth: int = 5000
    fill_deadline: float = 600.0
    peer_fill_deadline: float = 60.0
    receives: int = 2000
    connections: int = 5000


@dataclass(frozen=True)
class Target:
    """A running server to measure; `ours` is false for a peer."""

    server: Running
    ours: bool


@dataclass(frozen=True)
class Column:
    """A figure in the table: its name, its heading, the digits after the point."""

    figure: str
    heading: str
    digits: int = 0


@dataclass(frozen=True)
class Lane:
    """One thing to measure.

    `protocol` says which servers take part, None all. `compare` names the figure whose ratio to a
    peer's is shown; `lower_is_better` turns that ratio over. A lane with `once` runs in the first
    round alone, since it takes long.
    """

    name: str
    title: str
    protocol: str | None
    measure: Callable[[Target, Settings], Figures]
    columns: tuple[Column, ...]
    compare: str
    lower_is_better: bool = False
    once: bool = False


@dataclass
class Meter:
    """Reads the clocks at the marks of the load generator."""

    server: Running
    at: dict[str, dict[str, float]] = field(default_factory=dict)

    def mark(self, name: str, generator_pid: int) -> None:
        """Read everything at a mark."""
        server = self.server.usage()
        self.at[name] = {
            "time": time.monotonic(),
            "server": server.cpu,
            "memory": server.memory,
            "client": usage(generator_pid).cpu,
            "machine": machine_cpu(),
        }

    def spent(self, what: str, begin: str = "begin", end: str = "end") -> float:
        """Return how far a clock went between two marks."""
        return self.at[end][what] - self.at[begin][what]


def _rate_columns() -> tuple[Column, ...]:
    return (
        Column("per_second", "messages/s"),
        Column("per_cpu_second", "per server CPU s"),
        Column("p50_ms", "p50 ms", 2),
        Column("p99_ms", "p99 ms", 2),
        Column("memory", "memory MB"),
        Column("server_cores", "server cores", 2),
        Column("client_cores", "client cores", 2),
        Column("other_cores", "others' cores", 2),
    )


def _raw(protocol: str, target: Target) -> dict[str, float]:
    """Return what tells the generator that a WebSocket server has no protocol of its own."""
    return {"raw": 1} if protocol == "websocket" and not target.ours else {}


def _measure_rate(
    load: str, options: Mapping[str, float | str]
) -> Callable[[Target, Settings], Figures]:
    protocol = load.partition("-")[0]

    def measure(target: Target, settings: Settings) -> Figures:
        meter = Meter(target.server)
        figures = generator.run(
            settings.program,
            load,
            {
                "warm": settings.warm,
                "seconds": settings.seconds,
                **options,
                **_raw(protocol, target),
            },
            port=target.server.ports[protocol],
            deadline=SETUP_DEADLINE + settings.warm + settings.seconds,
            on_mark=meter.mark,
        )
        if not figures["messages"]:
            raise BenchmarkError("not a single message arrived")
        seconds, cpu = meter.spent("time"), meter.spent("server")
        client = meter.spent("client")
        return figures | {
            "per_second": figures["messages"] / figures["seconds"],
            "per_cpu_second": figures["messages"] / cpu if cpu else 0.0,
            "memory": meter.at["end"]["memory"],
            "server_cores": cpu / seconds,
            "client_cores": client / seconds,
            "other_cores": max(0.0, meter.spent("machine") - cpu - client) / seconds,
        }

    return measure


def _measure_depth(target: Target, settings: Settings) -> Figures:
    """Receive from a queue as deep as what is received, then from a deep one."""
    depth = settings.depth if target.ours else min(settings.depth, settings.peer_depth)
    limit = settings.fill_deadline if target.ours else settings.peer_fill_deadline

    def receive(depth: int) -> tuple[Figures, float, Meter]:
        meter = Meter(target.server)
        figures = generator.run(
            settings.program,
            "sqs-receive",
            {
                "depth": depth,
                "count": settings.receives,
                "seconds": RECEIVE_SECONDS,
                "fill-deadline": limit,
            },
            port=target.server.ports["sqs"],
            deadline=SETUP_DEADLINE + limit + RECEIVE_SECONDS,
            on_mark=meter.mark,
        )
        if figures["empty"]:
            raise BenchmarkError(f"{figures['empty']:.0f} receives gave nothing")
        return figures, 1e6 * meter.spent("server") / figures["messages"], meter

    shallow, shallow_cost, _ = receive(settings.receives)
    deep, deep_cost, deep_meter = receive(depth)
    return {
        "depth": depth,
        "shallow_us": shallow_cost,
        "deep_us": deep_cost,
        "growth": deep_cost / shallow_cost if shallow_cost else 0.0,
        "deep_p50_ms": deep["p50_ms"],
        "deep_p99_ms": deep["p99_ms"],
        "fill_per_second": depth / deep_meter.spent("time", "fill", "begin"),
        "memory_before": deep_meter.at["fill"]["memory"],
        "memory": deep_meter.at["begin"]["memory"],
        "bytes_each": deep_meter.spent("memory", "fill", "begin") * 1e6 / depth,
        "errors": shallow["errors"] + deep["errors"],
    }


def _measure_deep_stream(target: Target, settings: Settings) -> Figures:
    """Fill a stream; read from times at random, then from its beginning beside another client."""
    records = settings.records if target.ours else min(settings.records, settings.peer_depth)
    limit = settings.fill_deadline if target.ours else settings.peer_fill_deadline
    before = target.server.usage()
    with closing(DeepStream(target.server.ports["kinesis"], RECORD_BYTES)) as stream:
        stream.fill(records, limit)
        full = target.server.usage()
        finds = stream.find(FINDS, FIND_RECORDS)
        found = target.server.usage()
        start = time.monotonic()
        read, waits = stream.scan(SCAN_SECONDS, SCAN_RECORDS)
        seconds = time.monotonic() - start
        return {
            "records": stream.records,
            "fill_per_second": stream.records / (stream.ended - stream.began),
            "memory_before": before.memory,
            "memory": full.memory,
            "find_us": 1e6 * (found.cpu - full.cpu) / FINDS,
            "find_p50_ms": percentile(finds, 50),
            "find_p99_ms": percentile(finds, 99),
            "read_per_second": read / seconds,
            "other_p50_ms": percentile(waits, 50),
            "other_p99_ms": percentile(waits, 99),
            "other_max_ms": 1e3 * max(waits),
        }


def _measure_idle_connections(protocol: str) -> Callable[[Target, Settings], Figures]:
    def measure(target: Target, settings: Settings) -> Figures:
        meter = Meter(target.server)

        def mark(name: str, generator_pid: int) -> None:
            meter.mark(name, generator_pid)
            if name == "end":
                time.sleep(SETTLE_SECONDS)
                meter.mark("settled", generator_pid)
                time.sleep(IDLE_SECONDS)
                meter.mark("idle", generator_pid)

        figures = generator.run(
            settings.program,
            f"{protocol}-idle",
            {"connections": settings.connections, **_raw(protocol, target)},
            port=target.server.ports[protocol],
            deadline=SETUP_DEADLINE,
            on_mark=mark,
        )
        cpu = meter.spent("server")
        grown = meter.spent("memory", "begin", "settled") * 1e6
        return {
            "connections": figures["messages"],
            "kib_each": grown / 1024 / settings.connections,
            "memory_before": meter.at["begin"]["memory"],
            "memory": meter.at["settled"]["memory"],
            "per_second": figures["messages"] / figures["seconds"],
            "per_cpu_second": figures["messages"] / cpu if cpu else 0.0,
            "idle_percent": 100 * meter.spent("server", "settled", "idle") / IDLE_SECONDS,
        }

    return measure


def _measure_start(target: Target, settings: Settings) -> Figures:
    del settings
    ready = target.server.usage()
    time.sleep(SETTLE_SECONDS)
    settled = target.server.usage()
    time.sleep(IDLE_SECONDS)
    idle = target.server.usage()
    return {
        "ready_seconds": target.server.ready_seconds,
        "start_cpu": ready.cpu,
        "memory": idle.memory,
        "idle_percent": 100 * (idle.cpu - settled.cpu) / IDLE_SECONDS,
    }


def _rate(
    name: str, title: str, load: str, *, compare: str = "per_cpu_second", **options: float | str
) -> Lane:
    protocol = load.partition("-")[0]
    return Lane(
        name,
        title,
        protocol,
        _measure_rate(load, options),
        _rate_columns(),
        compare,
        lower_is_better=compare.endswith("_ms"),
    )


def _idle(protocol: str, title: str) -> Lane:
    return Lane(
        f"{protocol}-idle",
        title,
        protocol,
        _measure_idle_connections(protocol),
        (
            Column("connections", "connections"),
            Column("kib_each", "KiB each", 1),
            Column("memory_before", "MB before"),
            Column("memory", "MB with them"),
            Column("per_second", "connects/s"),
            Column("per_cpu_second", "connects per server CPU s"),
            Column("idle_percent", "idle CPU %", 1),
        ),
        "kib_each",
        lower_is_better=True,
    )


LANES = (
    Lane(
        "start",
        "From start to ready, and idle",
        None,
        _measure_start,
        (
            Column("ready_seconds", "ready after s", 2),
            Column("start_cpu", "CPU s until ready", 2),
            Column("memory", "idle memory MB"),
            Column("idle_percent", "idle CPU %", 1),
        ),
        "memory",
        lower_is_better=True,
    ),
    _rate("sqs-single", "SQS, 8 connections: send, receive, delete of one message", "sqs"),
    _rate("sqs-batch", "SQS, 8 connections: send, receive, delete of ten", "sqs", batch=10),
    _rate("sns", "SNS, 8 connections: publish to three queues, receive, delete; raw", "sns", raw=1),
    _rate("sns-envelope", "SNS, the same in AWS's envelope, signed", "sns"),
    _rate(
        "kinesis",
        "Kinesis, 4 connections: PutRecords of a hundred, GetRecords",
        "kinesis",
        connections=4,
    ),
    _rate("http", "HTTP, 8 connections: plain GET", "http", path="/healthz"),
    _rate(
        "http-many", "HTTP, 500 connections: plain GET", "http", path="/healthz", connections=500
    ),
    _rate(
        "gateway",
        "HTTP API, 8 connections: publish to a durable queue; the peers keep nothing",
        "gateway",
        path="/queues/bench/messages",
    ),
    _rate("mqtt0", "MQTT QoS 0, 1 publisher → 1 subscriber", "mqtt"),
    _rate("mqtt1", "MQTT QoS 1, 1 → 1", "mqtt", qos=1, window=500),
    _rate("mqtt2", "MQTT QoS 2, 1 → 1", "mqtt", qos=2, window=500),
    _rate("mqtt0-fan", "MQTT QoS 0, 1 → 50, deliveries", "mqtt", subscribers=50, window=200),
    _rate("mqtt1-fan", "MQTT QoS 1, 1 → 50, deliveries", "mqtt", qos=1, subscribers=50, window=200),
    _rate("mqtt0-paced", "MQTT QoS 0 at 1000 messages/s", "mqtt", compare="p99_ms", rate=1000),
    _rate(
        "mqtt1-paced", "MQTT QoS 1 at 1000 messages/s", "mqtt", compare="p99_ms", qos=1, rate=1000
    ),
    _rate("amqp-transient", "AMQP, transient: no confirms, no acknowledgements", "amqp"),
    _rate(
        "amqp-durable",
        "AMQP, durable: confirms, acknowledgements",
        "amqp",
        reliable=1,
        window=2000,
        unacked=500,
    ),
    _rate("stomp", "STOMP, ack:auto", "stomp"),
    _rate(
        "stomp-client",
        "STOMP, receipts and ack:client-individual",
        "stomp",
        reliable=1,
        window=500,
    ),
    _rate(
        "amqp-transient-paced",
        "AMQP, transient, at 1000 messages/s",
        "amqp",
        compare="p99_ms",
        rate=1000,
    ),
    _rate(
        "amqp-durable-paced",
        "AMQP, durable, at 1000 messages/s",
        "amqp",
        compare="p99_ms",
        reliable=1,
        rate=1000,
        window=60_000,
        unacked=30_000,
    ),
    _rate(
        "stomp-paced", "STOMP, ack:auto, at 1000 messages/s", "stomp", compare="p99_ms", rate=1000
    ),
    _rate(
        "websocket-fan",
        "WebSocket, 1 publisher → 1000 subscribers, deliveries",
        "websocket",
        subscribers=1000,
        window=20,
    ),
    _idle("mqtt", "Idle MQTT connections"),
    _idle("websocket", "Idle WebSockets"),
    Lane(
        "sqs-deep",
        "SQS: one receive from an almost empty and from a deep queue",
        "sqs",
        _measure_depth,
        (
            Column("depth", "waiting"),
            Column("shallow_us", "CPU µs, almost empty"),
            Column("deep_us", "CPU µs, deep"),
            Column("growth", "deep ÷ almost empty", 2),
            Column("deep_p50_ms", "p50 ms, deep", 2),
            Column("deep_p99_ms", "p99 ms, deep", 2),
            Column("fill_per_second", "filled/s"),
            Column("memory_before", "MB before"),
            Column("memory", "MB full"),
            Column("bytes_each", "bytes each"),
        ),
        "deep_us",
        lower_is_better=True,
        once=True,
    ),
    Lane(
        "kinesis-deep",
        "Kinesis: a deep stream, read from any time, and from its beginning",
        "kinesis",
        _measure_deep_stream,
        (
            Column("records", "records"),
            Column("fill_per_second", "filled/s"),
            Column("memory_before", "MB before"),
            Column("memory", "MB full"),
            Column("find_us", "CPU µs, a time"),
            Column("find_p50_ms", "p50 ms, a time", 2),
            Column("find_p99_ms", "p99 ms, a time", 2),
            Column("read_per_second", "read/s"),
            Column("other_p50_ms", "p50 ms, another client", 2),
            Column("other_p99_ms", "p99 ms, another client", 2),
            Column("other_max_ms", "longest ms, another client", 2),
        ),
        "find_us",
        lower_is_better=True,
        once=True,
    ),
)
