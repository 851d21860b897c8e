"""The command: which lanes against which servers, round by round, and the table at the end."""

import argparse
import json
import os
import platform
import resource
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from . import generator
from .lanes import LANES, Lane, Settings, Target
from .processes import BenchmarkError, running
from .report import Result, table
from .servers import PEERS, SYSTEM_FOLDERS, Server, hubbub


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 1 if a lane of ours failed."""
    options = _parse(arguments)
    if options.list:
        for lane in LANES:
            print(f"{lane.name:12} {lane.title}")
        return 0
    try:
        return _run(options)
    except BenchmarkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _run(options: argparse.Namespace) -> int:
    lanes = [lane for lane in LANES if not options.lanes or lane.name in options.lanes]
    servers = _servers(options.peers, options.bin)
    options.folder.mkdir(parents=True, exist_ok=True)
    settings = Settings(
        generator.build(generator.cache_folder()),
        seconds=options.seconds,
        warm=options.warm,
        depth=options.depth,
        records=options.records,
        peer_depth=options.peer_depth,
        connections=options.connections,
    )
    _raise_file_limit()
    results = []
    try:
        for result in _measure(lanes, servers, settings, options.rounds, options.folder):
            outcome = result.failed or "done"
            print(f"round {result.round} {result.lane} {result.server}: {outcome}", file=sys.stderr)
            results.append(result)
    except KeyboardInterrupt:
        print("interrupted: here is what was measured", file=sys.stderr)
    print(_heading(servers))
    for lane in lanes:
        rows = [result for result in results if result.lane == lane.name]
        if rows:
            print(f"\n{table(lane, rows)}")
    if options.json:
        report = {"heading": _heading(servers), "results": [asdict(result) for result in results]}
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    return int(any(result.failed and result.server == "hubbub" for result in results))


def _measure(
    lanes: Sequence[Lane], servers: Sequence[Server], settings: Settings, rounds: int, folder: Path
) -> Iterator[Result]:
    """Run lane by lane, server by server, so that what drifts hits all servers alike."""
    for number in range(1, rounds + 1):
        for lane in lanes:
            if lane.once and number > 1:
                continue
            for server in servers:
                if lane.protocol is None or lane.protocol in server.protocols:
                    yield _measure_one(lane, server, settings, number, folder)


def _measure_one(
    lane: Lane, server: Server, settings: Settings, number: int, folder: Path
) -> Result:
    result = Result(lane.name, server.name, number)
    with tempfile.TemporaryDirectory(prefix=f"{server.name}-", dir=folder) as work:
        try:
            with running(server.name, server.launch(Path(work)), Path(work)) as process:
                target = Target(process, ours=server.name == "hubbub")
                result.figures = lane.measure(target, settings)
        except BenchmarkError as error:
            result.failed = str(error)
    return result


def _servers(peers: Sequence[str], folders: Sequence[Path]) -> list[Server]:
    servers = [hubbub()]
    search = [*folders, Path(sys.executable).parent, *SYSTEM_FOLDERS]
    search += [Path(folder) for folder in os.get_exec_path()]
    for peer in PEERS:
        if peer.name not in peers:
            continue
        found = peer.find(search)
        if found is None:
            print(f"{peer.name} is left out: not installed ({peer.install})", file=sys.stderr)
        else:
            servers.append(found)
    return servers


def _heading(servers: Sequence[Server]) -> str:
    versions = ", ".join(f"{server.name} {server.version}" for server in servers)
    return (
        f"{versions}; Python {platform.python_version()}, Linux {platform.release()}, "
        f"{os.cpu_count()} CPUs"
    )


def _raise_file_limit() -> None:
    """Let us and the servers we start open as many files as the system allows."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmarks/run.py",
        description="Measure hubbub beside other servers. See benchmarks/README.md.",
    )
    names = [lane.name for lane in LANES]
    peers = [peer.name for peer in PEERS]
    add = parser.add_argument
    add("lanes", nargs="*", metavar="LANE", help=f"{', '.join(names)}; default: all")
    add("--list", action="store_true", help="list the lanes and end")
    add(
        "--peers",
        default=",".join(peers),
        help='names with commas, or "none"; default: %(default)s',
    )
    add("--bin", type=Path, action="append", default=[], help="folder with commands of peers")
    add("--seconds", type=float, default=3.0, help="measured in a run; default: %(default)s")
    add("--warm", type=float, default=1.0, help="not measured before it; default: %(default)s")
    add(
        "--rounds", type=int, default=3, help="how often each run is repeated; default: %(default)s"
    )
    add("--depth", type=int, default=1_000_000, help="messages of sqs-deep; default: %(default)s")
    add("--records", type=int, default=10_000_000, help="of kinesis-deep; default: %(default)s")
    add("--peer-depth", type=int, default=5000, help="both for peers; default: %(default)s")
    add("--connections", type=int, default=5000, help="of mqtt-idle; default: %(default)s")
    add(
        "--folder",
        type=Path,
        default=generator.cache_folder(),
        help="for data; default: %(default)s",
    )
    add("--json", type=Path, metavar="FILE", help="write every single result too")
    options = parser.parse_args(arguments)
    options.peers = [] if options.peers == "none" else options.peers.split(",")
    for kind, given, known in (("lane", options.lanes, names), ("peer", options.peers, peers)):
        for name in given:
            if name not in known:
                parser.error(f"there is no {kind} {name!r}; known: {', '.join(known)}")
    return options
