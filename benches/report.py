"""From figures to a table, and to a chart in `benches/README.md`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Figures = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""peer -> workload -> figures of a `Result`."""


def _main(figures: Mapping[str, Any]) -> float | None:
    value = figures.get("value", figures.get("cpu_ms"))
    return None if value is None else float(value)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def table(results: Figures, peers: list[str]) -> str:
    """Return a Markdown table: a row a workload, the peers side by side, and how many times less the first needs than the last."""
    first, last = peers[0], peers[-1]
    head = ["workload", "unit"]
    for peer in peers:
        head += [peer, "p50 / p95 / p99 ms", "/s"]
    lines = ["| " + " | ".join([*head, "ratio"]) + " |", "|" + "---|" * (len(head) + 1)]
    for workload in results[first]:
        row = [workload, _unit(results[first][workload])]
        for peer in peers:
            figures = results[peer].get(workload, {})
            times = " / ".join(_number(figures.get(name)) for name in ("p50", "p95", "p99")) if "p50" in figures else ""
            row += [_number(_main(figures)), times, _number(figures.get("per_second"))]
        own, other = _main(results[first][workload]), _main(results[last].get(workload, {}))
        row.append(f"{other / own:.1f}" if own and other and first != last else "")
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def _unit(figures: Mapping[str, Any]) -> str:
    return str(figures["unit"]) if "value" in figures else f"CPU ms per {figures.get('unit', 'op')}"


def chart(results: Figures, peers: list[str]) -> str:
    """Return an SVG: how many times less CPU (or memory, or time) the first peer needs than the last, a bar a workload."""
    first, last = peers[0], peers[-1]
    ratios = []
    for workload, figures in results[first].items():
        own, other = _main(figures), _main(results[last].get(workload, {}))
        if own and other:
            ratios.append((workload, other / own))
    width, line, left = 760, 22, 190
    top = max((ratio for _, ratio in ratios), default=1.0)
    rows = []
    for index, (workload, ratio) in enumerate(ratios):
        y = 34 + index * line
        length = max(2.0, (width - left - 80) * ratio / top)
        rows.append(
            f'<text x="{left - 8}" y="{y + 13}" text-anchor="end">{workload}</text>'
            f'<rect x="{left}" y="{y}" width="{length:.0f}" height="16" fill="#3b7dd8"/>'
            f'<text x="{left + length + 6:.0f}" y="{y + 13}">{ratio:.1f}x</text>'
        )
    height = 44 + len(ratios) * line
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif"'
        f' font-size="13"><rect width="100%" height="100%" fill="white"/>'
        f'<text x="8" y="20" font-weight="bold">{first} against {last}: how many times less it needs</text>'
        + "".join(rows)
        + "</svg>\n"
    )
