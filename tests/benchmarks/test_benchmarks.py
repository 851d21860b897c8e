"""The benchmarks still build and run; what they measure is no test's business."""

import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from benchmarks.deep_stream import DeepStream, percentile
from benchmarks.generator import build, compiler, run
from benchmarks.lanes import LANES, Column, Lane
from benchmarks.processes import BenchmarkError, Launch, free_port, running, usage
from benchmarks.report import Result, table
from benchmarks.servers import PEERS, hubbub

RUN = Path(__file__).parents[2] / "benchmarks" / "run.py"


@pytest.fixture
def needs_compiler() -> None:
    if compiler() is None:
        assert not os.environ.get("CI"), "no C compiler to build the load generator"
        pytest.skip("no C compiler to build the load generator")


def lane(*, lower_is_better: bool = False) -> Lane:
    return Lane(
        name="walk",
        title="Walking",
        protocol=None,
        measure=lambda target, settings: {},
        columns=(Column("speed", "m/s", 1),),
        compare="speed",
        lower_is_better=lower_is_better,
    )


def test_lanes_run_against_our_hub(needs_compiler: None, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    lanes = ["sqs-batch", "sns", "kinesis", "gateway", "mqtt1", "mqtt2", "amqp-durable"]
    lanes += ["stomp-client", "websocket-fan"]
    command = [sys.executable, str(RUN), *lanes, "--peers", "none", "--rounds", "1"]
    command += ["--seconds", "1", "--warm", "0.1"]  # less is too little on a busy machine
    command += ["--folder", str(tmp_path), "--json", str(report)]
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(
        command, env={**os.environ, **cache}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(report.read_text())["results"]
    assert [result["lane"] for result in results] == lanes
    for result in results:
        assert not result["failed"]
        assert result["figures"]["messages"] > 0
        assert result["figures"]["memory"] > 1
        assert result["figures"]["errors"] == 0
    assert [result["figures"].get("missing", 0) for result in results] == [0] * len(lanes)
    assert "### mqtt1" in done.stdout


def test_a_deep_stream_is_filled_and_read(tmp_path: Path) -> None:
    launch = hubbub().launch(tmp_path)
    with (
        running("hubbub", launch, tmp_path) as server,
        closing(DeepStream(server.ports["kinesis"], 100)) as stream,
    ):
        stream.fill(2000, deadline=60)
        assert stream.records == 2000
        assert len(stream.find(10, limit=100)) == 10
        read, waits = stream.scan(1, limit=300)  # less is too little on a busy machine
        assert read > 0
        assert percentile(waits, 50) <= 1e3 * max(waits)


def test_the_generator_is_built_once(needs_compiler: None, tmp_path: Path) -> None:
    built = build(tmp_path)
    made = built.stat().st_mtime_ns
    assert build(tmp_path) == built
    assert built.stat().st_mtime_ns == made
    assert list(tmp_path.iterdir()) == [built]


def test_a_load_that_cannot_connect_says_so(needs_compiler: None, tmp_path: Path) -> None:
    program = build(tmp_path)
    marks: list[str] = []
    with pytest.raises(BenchmarkError, match=r"connect 127\.0\.0\.1:\d+: Connection refused"):
        run(
            program,
            "mqtt",
            {"qos": 1},
            port=free_port(),
            deadline=10,
            on_mark=lambda name, pid: marks.append(name),
        )
    assert marks == []


def test_a_server_that_ends_at_once_is_reported_with_its_last_words(tmp_path: Path) -> None:
    launch = Launch([sys.executable, "-c", "raise SystemExit('no licence')"], {"x": free_port()})
    with (
        pytest.raises(BenchmarkError, match="shop ended: no licence"),
        running("shop", launch, tmp_path),
    ):
        pass


def test_usage_counts_children(tmp_path: Path) -> None:
    port = free_port()
    code = (
        "import socket, subprocess, sys\n"
        "child = [sys.executable, '-c', 'print(flush=True); input()']\n"
        "pipe = subprocess.PIPE\n"
        "with subprocess.Popen(child, stdin=pipe, stdout=pipe) as running:\n"
        "    running.stdout.readline()\n"
        f"    server = socket.create_server(('127.0.0.1', {port}))\n"
        "    running.wait()\n"
    )
    with running("parent", Launch([sys.executable, "-c", code], {"x": port}), tmp_path) as server:
        statm = Path(f"/proc/{server.pid}/statm").read_text().split()
        alone = int(statm[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
        assert server.usage().memory > alone + 3
    assert usage(server.pid).memory == 0


def test_ratios_are_taken_within_a_round_and_are_a_median() -> None:
    results = [
        Result("walk", "hubbub", 1, {"speed": 10.0}),
        Result("walk", "snail", 1, {"speed": 5.0}),
        Result("walk", "hubbub", 2, {"speed": 100.0}),
        Result("walk", "snail", 2, {"speed": 25.0}),
        Result("walk", "hubbub", 3, {"speed": 9.0}),
        Result("walk", "snail", 3, failed="fell asleep"),
    ]
    lines = table(lane(), results).splitlines()
    assert [cell.strip() for cell in lines[4].split("|")[1:-1]] == ["hubbub", "10.0", ""]
    assert [cell.strip() for cell in lines[5].split("|")[1:-1]] == ["snail", "15.0", "3.00"]
    assert lines[-1] == "- snail, round 3: failed: fell asleep"


def test_a_figure_that_should_be_low_has_its_ratio_turned_over() -> None:
    results = [
        Result("walk", "hubbub", 1, {"speed": 10.0}),
        Result("walk", "snail", 1, {"speed": 5.0}),
    ]
    assert table(lane(lower_is_better=True), results).endswith("0.50 |")


def test_lost_messages_and_noise_are_noted() -> None:
    figures = {"speed": 1.0, "missing": 3.0, "errors": 0.0, "other_cores": 0.8, "client_cores": 0.2}
    lines = table(lane(), [Result("walk", "hubbub", 1, figures)]).splitlines()
    assert lines[-2:] == [
        "- hubbub, round 1: missing 3",
        "- hubbub, round 1: others used 0.80 cores",
    ]


def test_lanes_and_peers_are_named_in_the_readme() -> None:
    text = (RUN.parent / "README.md").read_text()
    for name in [lane.name for lane in LANES] + [peer.name for peer in PEERS]:
        assert f"`{name}`" in text
