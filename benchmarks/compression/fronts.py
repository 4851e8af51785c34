"""One command under three budgets for each run, and a table of the fronts.

    python -m benchmarks.compression.fronts RUN … [--out DIR] [--effort normal] [--dry]

The budgets: at most half a point lost; that and an eighth of the size; that and a third of the latency. The first
search trains; the others find its students in the cache, and train what their limits add. A front that lies in `--out`
already is taken as it is. Writes benchmarks/results/compression-fronts.json and the section of
docs/compression-results.md; the runs there that aren't named stay as they were measured.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bedplate.compression.front import MB, Budget
from bedplate.core.console import Console, human_bytes
from bedplate.core.files import read_json, write_json
from bedplate.stages.compress_bundle import RESULT, compress_bundle
from benchmarks.serving.environments import ROOT
from benchmarks.serving.paced import machine, write_section

RESULTS = ROOT / "benchmarks" / "results" / "compression-fronts.json"
PAGE = ROOT / "docs" / "compression-results.md"
MACHINE = "machine.json"
BESIDE = "other work ran beside"
DROP = 0.5
SMALLER, FASTER = 8, 3


def limits(baseline: Mapping[str, Any] | None) -> dict[str, Budget]:
    """Return the three budgets; those that are relative only once the original has been measured."""
    found = {"drop": Budget(max_drop=DROP)}
    if baseline:
        found["size"] = Budget(max_drop=DROP, max_size_mb=round(baseline["size_bytes"] / MB / SMALLER, 5))
        found["latency"] = Budget(max_drop=DROP, max_latency_ms=round(baseline["latency_ms"]["median"] / FASTER, 5))
    return found


def front_of(run: Path, name: str, budget: Budget, out: Path, effort: Any) -> dict[str, Any]:
    folder = out / f"{run.name}-{name}"
    if not (folder / RESULT).exists():
        compress_bundle(run, budget, out=folder, effort=effort, console=Console(sys.stderr))
        write_json(folder / MACHINE, machine() | {"beside": BESIDE})
    found: dict[str, Any] = read_json(folder / RESULT)
    found["machine"] = read_json(folder / MACHINE)
    found["front"] = [{key: value for key, value in one.items() if key != "bundle"} for one in found["front"]]
    return {key: value for key, value in found.items() if key != "out"}  # places on this machine are nobody's business


def rows(run: str, found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a run's lines: what each budget chose, and the first one's front."""
    lines = []
    for figures in found.values():
        base = figures["baseline"]
        told = {key: value for key, value in figures["budget"].items() if value is not None and key != "metric"}
        asked = ", ".join(f"{key.removeprefix('max_').replace('_', ' ')} ≤ {value:g}" for key, value in told.items())
        chosen = next(one for one in figures["front"] if one["name"] == figures["chosen"])
        state = "" if figures["feasible"] else f" (infeasible: {', '.join(figures['binding'])}; the nearest)"
        lines.append(
            f"| {run} | {asked} | {chosen['name']}{state} | {base['size_bytes'] / chosen['size_bytes']:.1f}× | "
            f"{base['latency_ms']['median'] / chosen['latency_ms']['median']:.1f}× | {chosen['metric']['drop']:+.2f} "
            f"(≤ {chosen['metric']['drop_high']:.2f}) |"
        )
    return lines


def front_lines(run: str, figures: Mapping[str, Any]) -> list[str]:
    """Return the points of a front, a line each, the original first."""
    base = figures["baseline"]
    lines = [
        f"| {run} | the original | {human_bytes(base['size_bytes'])} | {base['latency_ms']['median']:.3f} / "
        f"{base['latency_ms']['p95']:.3f} | {base['metric']['value']:.4f} | | |"
    ]
    for one in figures["front"]:
        if one["name"] == "original":
            continue
        lines.append(
            f"| | {one['name']} | {human_bytes(one['size_bytes'])} | {one['latency_ms']['median']:.3f} / "
            f"{one['latency_ms']['p95']:.3f} | {one['metric']['value']:.4f} | {one['metric']['drop']:+.2f} (≤ "
            f"{one['metric']['drop_high']:.2f}) | {'; '.join(one['steps'])} |"
        )
    return lines


def table(found: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Return the page's section."""
    lines = ["| run | budget | chosen | smaller | faster | drop, points (bound) |", "|---|---|---|---:|---:|---:|"]
    for run, budgets in found.items():
        lines += rows(run, budgets)
    lines += ["", "The points of each first front:", ""]
    lines += [
        "| run | point | size | median / p95 ms | metric | drop (bound) | steps |",
        "|---|---|---:|---:|---:|---:|---|",
    ]
    for run, budgets in found.items():
        lines += front_lines(run, next(iter(budgets.values())))
    lines += [
        "", "One row on one thread, candidates in turns; n = 1 search a budget. Written by "
        "`python -m benchmarks.compression.fronts`. Where each was measured:", "",
    ]  # fmt: skip
    for run, budgets in found.items():
        places = [
            f"{told['cpu']}, {told['threads']} threads, {told['date']}, {told['beside']}"
            for told in (one["machine"] for one in budgets.values())
        ]
        lines.append(f"- {run}: {'; then '.join(dict.fromkeys(places))}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path, help="runs' folders")
    parser.add_argument("--out", type=Path, help="where the fronts are kept; left out: a temporary folder")
    parser.add_argument("--effort", choices=("quick", "normal", "thorough"), default="normal")
    parser.add_argument(
        "--budgets", nargs="+", choices=("drop", "size", "latency"), default=["drop", "size", "latency"]
    )
    parser.add_argument("--there", action="store_true", help="take the fronts that lie in --out, and search for none")
    parser.add_argument("--dry", action="store_true", help="write nothing but the fronts")
    given = parser.parse_args()
    out = given.out or Path(tempfile.mkdtemp(prefix="bedplate-fronts-"))
    found: dict[str, dict[str, Any]] = {}
    for run in given.runs:
        if given.there and not (out / f"{run.name}-drop" / RESULT).exists():
            raise SystemExit(f"there is no front for {run.name} in {out}")
        first = front_of(run, "drop", limits(None)["drop"], out, given.effort)
        budgets = {name: one for name, one in limits(first["baseline"]).items() if name in given.budgets}
        if given.there:
            budgets = {name: one for name, one in budgets.items() if (out / f"{run.name}-{name}" / RESULT).exists()}
        found[run.name] = {
            name: front_of(run, name, budget, out, given.effort) for name, budget in budgets.items()
        }  # fmt: skip
    print(table(found))
    if not given.dry:
        there: dict[str, dict[str, Any]] = read_json(RESULTS) if RESULTS.exists() else {}
        found = {**there, **found}  # runs that aren't named keep their figures
        RESULTS.write_text(json.dumps(found, indent=1, default=str) + "\n", encoding="utf-8")
        write_section(PAGE, "fronts", table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
