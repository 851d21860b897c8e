"""Medians, ratios and the table of what was measured."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from .lanes import Figures, Lane

NOISY_CORES = 0.35
"""Cores that others used, above which a run says little about messages per second."""

_CHECKS = ("missing", "out_of_order", "unacked", "errors", "empty")


@dataclass
class Result:
    """One run of a lane against a server; without figures if it failed, and why."""

    lane: str
    server: str
    round: int
    figures: Figures = field(default_factory=dict)
    failed: str = ""


def warnings(result: Result) -> list[str]:
    """Return what casts doubt on a result."""
    figures = result.figures
    found = [
        f"{name.replace('_', ' ')} {figures[name]:.0f}" for name in _CHECKS if figures.get(name)
    ]
    if figures.get("other_cores", 0.0) > NOISY_CORES:
        found.append(f"others used {figures['other_cores']:.2f} cores")
    if figures.get("client_cores", 0.0) > 0.9:
        found.append("the load generator was the bottleneck")
    return found


def median(results: Sequence[Result], figure: str) -> float:
    """Return the median of a figure over the runs that have it."""
    return statistics.median(result.figures[figure] for result in results)


def ratio(lane: Lane, ours: Sequence[Result], theirs: Sequence[Result]) -> float | None:
    """Return how many times better we are: the median of the ratios within a round."""
    peers = {result.round: result.figures[lane.compare] for result in theirs}
    ratios = []
    for result in ours:
        mine, other = result.figures[lane.compare], peers.get(result.round, 0.0)
        if mine > 0 and other > 0:
            ratios.append(other / mine if lane.lower_is_better else mine / other)
    return statistics.median(ratios) if ratios else None


def table(lane: Lane, results: Sequence[Result]) -> str:
    """Return the Markdown table of one lane: a row for each server, the first of them ours."""
    by_server: dict[str, list[Result]] = {}
    for result in results:
        by_server.setdefault(result.server, []).append(result)
    good = {name: [r for r in runs if r.figures] for name, runs in by_server.items()}
    ours = next(iter(by_server))
    heading = next(column.heading for column in lane.columns if column.figure == lane.compare)
    headings = [
        "server",
        *(column.heading for column in lane.columns),
        f"{ours} better × ({heading})",
    ]
    rows = [headings]
    notes = []
    for name, runs in by_server.items():
        row = [name]
        if good[name]:
            row += [
                f"{median(good[name], column.figure):,.{column.digits}f}" for column in lane.columns
            ]
            times = None if name == ours else ratio(lane, good[ours], good[name])
            row.append("" if times is None else f"{times:.2f}")
        else:
            row += ["–"] * (len(headings) - 1)
        rows.append(row)
        for result in runs:
            doubts = [f"failed: {result.failed}"] if result.failed else warnings(result)
            notes += [f"- {name}, round {result.round}: {doubt}" for doubt in doubts]
    lines = [f"### {lane.name}: {lane.title}", "", *_aligned(rows)]
    return "\n".join([*lines, *(["", *notes] if notes else [])])


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]

    def line(row: Sequence[str]) -> str:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        return f"| {' | '.join(cells)} |"

    rule = f"|{'-' * (widths[0] + 2)}|" + "".join(f"{'-' * (width + 1)}:|" for width in widths[1:])
    return [line(rows[0]), rule, *(line(row) for row in rows[1:])]
