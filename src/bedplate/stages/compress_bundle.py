"""Compress a trained bundle under a budget: make candidates, measure each on this machine, and seal those worth having.

The rows are used apart: training rows calibrate and distil, validation rows choose, test rows say what it cost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from bedplate.bundle import Bundle
from bedplate.compression.front import MB, Budget, Choice, Point, choose, pace, pareto
from bedplate.core.console import Console, human_bytes
from bedplate.core.errors import InfeasibleError, RunError
from bedplate.core.files import atomic_folder, write_json, write_text
from bedplate.core.machine import cpu_model
from bedplate.evaluation.comparison import check_metric
from bedplate.stages.compress_judge import ORIGINAL, Candidate
from bedplate.stages.compress_replay import read_steps
from bedplate.stages.compress_report import write_compression_report
from bedplate.stages.compress_search import Effort
from bedplate.stages.compress_source import Source, open_source

RESULT = "compress.json"


@dataclass(frozen=True)
class Compression:
    """What was found.

    Attributes:
        baseline: the original.
        front: the points worth having, smallest first.
        choice: the one to take, and what binds where none meets the budget.
        bundles: each front point's sealed bundle.
        refused: (name, why) of candidates that harm or gain nothing.
        others: candidates that the front beats, by the selection rows.
        notes: what people should know of how it was done.
        settings: budget, effort, target and machine, as JSON.
        out: the folder that holds all of it.
    """

    baseline: Point
    front: tuple[Point, ...]
    choice: Choice
    bundles: Mapping[str, Path]
    refused: tuple[tuple[str, str], ...]
    others: tuple[Point, ...]
    notes: tuple[str, ...]
    settings: Mapping[str, Any]
    out: Path

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return {
            "feasible": self.choice.feasible,
            "binding": list(self.choice.binding),
            "baseline": {key: value for key, value in self.baseline.to_json().items() if key not in ("name", "steps")},
            "chosen": self.choice.chosen.name,
            "front": [{**point.to_json(), "bundle": str(self.bundles[point.name])} for point in self.front],
            "others": [point.to_json() for point in self.others],
            "refused": [{"name": name, "reason": why} for name, why in self.refused],
            "notes": list(self.notes),
            **self.settings,
            "out": str(self.out),
        }


def compress_bundle(
    source: str | Path,
    budget: Budget,
    *,
    out: str | Path | None = None,
    effort: Effort = "normal",
    metric: str | None = None,
    target: str = "this",
    steps: str | Path | None = None,
    console: Console | None = None,
) -> Compression:
    """Search for smaller and faster models of a bundle's task, and seal the Pareto front.

    Args:
        source: a run's folder, or a bundle.
        budget: what may not be exceeded; the front is made whether it can be met or not.
        out: a new folder for the front; left out: `compressed` beside the bundle.
        effort: how many students are trained, and how long.
        metric: of which the drop is; left out: the task's leading one.
        target: the processor that int8 is made for: this, avx2, vnni or arm. Times are of this machine all the same.
        steps: a `*.steps.yaml` of an earlier front: do that again instead of searching.
        console: where people read along; left out: silent.

    Raises:
        InputError: the data isn't what the bundle was trained on, or there is nothing here that could be done.
        RunError: `out` is there already.
    """
    console = console or Console(quiet=True)
    told = read_steps(Path(steps)) if steps else None

    def check(bundle: Bundle) -> None:
        folder = _folder(bundle, out)
        if folder.exists():
            raise RunError("there is something already", where=str(folder), hint="choose another folder with --out")
        if metric is not None:
            check_metric(metric, bundle.answers.kind)

    opened = open_source(Path(source), console, check)
    folder = _folder(opened.bundle, out)
    candidates, refused = opened.candidates(budget, effort, target, told)
    console.stage("compress", f"measuring {len(candidates)} candidates in turns")
    judge = opened.judge(metric)
    points, no_gain = judge.measured(candidates)
    by_name = {one.name: one for one in candidates}
    found = pareto(points)
    console.stage("compress", f"{len(found)} points on the front; {len(judge.test):,} test rows judge them")
    front = judge.judged(found, by_name)
    choice, passed = confirmed(preferred(found, budget), front, budget)
    notes = opened.notes
    if choice.feasible and passed:
        notes = (*notes, f"{passed} faster points were passed over: the test rows don't hold them within the budget")
    baseline = judge.judged([points[0]], by_name)[0]
    names = {point.name for point in front}
    result = Compression(
        baseline, tuple(front), choice, {point.name: folder / point.name for point in front},
        (*refused, *no_gain), tuple(point for point in points if point.name not in {*names, ORIGINAL}),
        notes, _settings(opened, budget, effort, target, judge.metric), folder,
    )  # fmt: skip
    console.stage("compress", f"sealing {len(front)} bundles")
    _write(result, opened, by_name, folder)
    return result


def _folder(bundle: Bundle, out: str | Path | None) -> Path:
    return Path(out) if out is not None else bundle.source.parent / "compressed"


def compress(
    source: str | Path,
    *,
    max_latency_ms: float | None = None,
    max_size_mb: float | None = None,
    max_drop: float | None = None,
    metric: str | None = None,
    effort: Effort = "normal",
    target: str = "this",
    out: str | Path | None = None,
    steps: str | Path | None = None,
    console: Console | None = None,
) -> Compression:
    """Search for a smaller or faster model under a budget: `compress_bundle` with the limits as arguments.

    Example:
        >>> found = compress("runs/digits", max_size_mb=0.1, max_drop=0.5)  # doctest: +SKIP
        >>> found.choice.feasible, found.bundles[found.choice.chosen.name]  # doctest: +SKIP
    """
    budget = Budget(max_latency_ms, max_size_mb, max_drop)
    return compress_bundle(
        source, budget, out=out, effort=effort, metric=metric, target=target, steps=steps, console=console
    )


def _write(result: Compression, opened: Source, candidates: Mapping[str, Candidate], folder: Path) -> None:
    """Write the front: a bundle, its steps and its network a point; the figures; the report."""
    with atomic_folder(folder) as made:
        for point in result.front:
            one = candidates[point.name]
            opened.seal(made / point.name, one, point)
            write_text(made / f"{point.name}.steps.yaml", _steps_yaml(one))
            opened.write_network(made / "networks" / point.name, one)
        write_json(made / RESULT, result.to_json())
        write_compression_report(made, result.to_json())


def _steps_yaml(one: Candidate) -> str:
    steps = [dict(step) for step in one.steps]
    head = f"# How '{one.name}' was made. Again: bedplate compress RUN --steps THIS_FILE --out DIR\n"
    return head + yaml.safe_dump({"name": one.name, "steps": steps}, sort_keys=False, allow_unicode=True)


def _settings(opened: Source, budget: Budget, effort: Effort, target: str, metric: str) -> dict[str, Any]:
    return {
        "budget": {**vars(budget), "metric": metric}, "effort": effort, "target": target,
        "bundle_id": opened.bundle.id, "cpu": cpu_model(),
        "rows": {"selection": len(opened.selection), "test": len(opened.test)},
    }  # fmt: skip


def preferred(front: Sequence[Point], budget: Budget) -> list[str]:
    """Return the points' names in the order in which the validation rows would take them.

    First those that are surely within the budget, the fastest first; then those that are so by the drop itself, since
    few rows can't bound it so low; then the others.
    """
    likely = [replace(point, drop_high=point.drop) for point in front]
    ranks = {
        point.name: (bool(budget.excesses(point)), bool(budget.excesses(other)), *pace(point))
        for point, other in zip(front, likely, strict=True)
    }
    return sorted(ranks, key=lambda name: ranks[name])


def confirmed(order: Sequence[str], judged: Sequence[Point], budget: Budget) -> tuple[Choice, int]:
    """Return the first point in the order that the test rows hold within the budget, and how many they didn't.

    Where they hold none, the choice is the nearest, by the test rows.
    """
    points = {point.name: point for point in judged}
    for passed, name in enumerate(order):
        if not budget.excesses(points[name]):
            return Choice(True, points[name], ()), passed
    return choose(judged, budget), len(order)


FLAGS = {"max_latency_ms": "--max-latency-ms", "max_size_mb": "--max-size-mb", "max_drop": "--max-drop"}
"""The budget's limits as the command line writes them."""


def infeasible(figures: Mapping[str, Any]) -> InfeasibleError | None:
    """Return the error that says which limit binds and what is nearest, from `compress.json`; None where all is met."""
    if figures["feasible"]:
        return None
    nearest = next(point for point in figures["front"] if point["name"] == figures["chosen"])
    reached = (
        f"{nearest['latency_ms']['median']:.3g} ms, {nearest['size_bytes'] / MB:.3g} MB, "
        f"at most {nearest['metric']['drop_high']:.2f} lost"
    )
    limits = [f"{FLAGS[key]} {figures['budget'][key]:g}" for key in FLAGS if figures["budget"][key] is not None]
    return InfeasibleError(
        "no candidate meets the budget",
        where=figures["out"],
        expected=", ".join(limits),
        received=f"nearest is '{figures['chosen']}' with {reached}",
        hint=f"what binds: {' or '.join(FLAGS[key] for key in figures['binding'])}",
    )


def show(found: Compression, console: Console) -> None:
    """Write the front for people."""
    name = found.baseline.metric[0]
    rows = [
        [
            ("→ " if point.name == found.choice.chosen.name else "") + point.name,
            human_bytes(point.size_bytes),
            f"{point.latency.median:.3f} ms",
            f"{point.metric[1]:.4f}",
            f"{point.drop:+.2f} (≤ {point.drop_high:.2f})",
            "; ".join(point.steps) or "as it was",
        ]
        for point in found.front
    ]
    console.table(["point", "size", "1 row", name, "drop", "steps"], rows)
    for refused, why in found.refused:
        console.detail(f"refused: {refused}: {why}")
    for note in found.notes:
        console.detail(f"note: {note}")
