"""Say whether one side is really better than another: single runs row by row, several runs of a side across runs.

A side is a run's folder, a bundle, or a folder of runs (an experiment's arm); an experiment's folder stands for all of
its arms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bedplate.bundle import Bundle
from bedplate.bundle.layout import LINEAGE, MANIFEST
from bedplate.core.errors import InputError, RunError, listing
from bedplate.core.files import read_json
from bedplate.evaluation import Report, Verdict
from bedplate.evaluation.comparison import amount
from bedplate.evaluation.metrics import LOWER_IS_BETTER, within_range
from bedplate.evaluation.significance import FEW_RUNS, FEWEST_RUNS, holm, mean_interval, paired_t, welch_t


@dataclass(frozen=True)
class Judged:
    """One run's report on its test rows, with what pairs it with another: its seed, and its fold if it has one.

    `data` is what its data is called, None where it doesn't say.
    """

    report: Report
    seed: int | None
    fold: int | None
    trained_on: int | None
    data: str | None = None

    @property
    def key(self) -> tuple[int | None, int | None]:
        """What paired runs share."""
        return self.seed, self.fold


@dataclass(frozen=True)
class Side:
    """One side of a comparison: a run, or several of one kind."""

    name: str
    runs: list[Judged]

    def values(self, metric: str) -> list[float]:
        """Return the metric of each run."""
        return [run.report.metrics[metric].value for run in self.runs]

    @property
    def overlap(self) -> float:
        """Rows judged / rows trained on where the runs judged different rows of one pool (folds), else 0."""
        if len({run.report.rows_digest for run in self.runs}) == 1:
            return 0.0
        shares = [run.report.rows / run.trained_on for run in self.runs if run.trained_on]
        return float(np.mean(shares)) if shares else 0.0

    def metrics(self) -> dict[str, dict[str, float]]:
        """Return each metric: of one run as its report has it, of several their mean and its interval."""
        if len(self.runs) == 1:
            return {name: estimate.to_json() for name, estimate in self.runs[0].report.metrics.items()}
        names = [n for n in self.runs[0].report.metrics if all(n in run.report.metrics for run in self.runs)]
        found = {}
        for name in names:
            values = [run.report.metrics[name].value for run in self.runs]
            value, low, high = mean_interval(values, overlap=self.overlap)
            low, high = within_range(name, low), within_range(name, high)
            found[name] = {"value": value, "low": low, "high": high}
            found[name]["sd"] = float(np.std(values, ddof=1))
        return found


@dataclass(frozen=True)
class Comparison:
    """Each side's metrics, and each later side against the first."""

    sides: dict[str, Side]
    verdicts: dict[str, Verdict]
    details: dict[str, dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        """Return this as JSON."""
        return {
            "reference": next(iter(self.sides)),
            "metrics": {name: side.metrics() for name, side in self.sides.items()},
            "runs": {name: len(side.runs) for name, side in self.sides.items()},
            "verdicts": {name: {**v.to_json(), **self.details[name]} for name, v in self.verdicts.items()},
        }

    def lines(self) -> list[str]:
        """Return a table of metrics and a sentence for each side against the first."""
        width = max(map(len, self.sides))
        lines = []
        for name, side in self.sides.items():
            figures = "  ".join(
                f"{key} {e['value']:.4g}" + (f" ± {e['sd']:.2g}" if "sd" in e else "")
                + f" ({e['low']:.4g}–{e['high']:.4g})"
                for key, e in side.metrics().items()
            )  # fmt: skip
            count = f"  {len(side.runs)} runs" if len(side.runs) > 1 else ""
            lines.append(f"{name:<{width}}{count}  {figures}")
        lines += [f"{name}: {verdict.text}" for name, verdict in self.verdicts.items()]
        if all(len(side.runs) == 1 for side in self.sides.values()):
            lines.append(
                "This speaks of these trained models. Whether one way of training is better than another takes several "
                f"seeds of each: `bedplate experiment`, or {FEW_RUNS} runs a side (`bedplate compare A… vs B…`)."
            )
        return lines


def _judged(path: Path) -> Judged | None:
    """Return what a run's folder or a bundle holds; None where it is neither, or not finished."""
    if path.is_file() or (path / MANIFEST).is_file():
        bundle = Bundle.open(path, replay=False)
        lineage = bundle.lineage
        data = lineage.get("data", {})
        trained_on = data.get("rows", {}).get("train")
        return Judged(Report.from_json(bundle.report), lineage.get("seed"), None, trained_on, data.get("name"))
    file = next((f for f in (path / "pack/report.json", path / "evaluate/report.json") if f.is_file()), None)
    if file is None or (not (file.parent / "stage.json").is_file() and not (path / "ensemble.json").is_file()):
        return None
    report = Report.from_json(read_json(file))
    for name in ("cell.json", "run.json", "report.json"):
        facts: dict[str, Any] = read_json(path / name) if (path / name).is_file() else {}
        seed = facts.get("seed", (facts.get("provenance") or {}).get("seed"))
        if seed is not None or name == "report.json":
            trained_on = (facts.get("rows") or {}).get("train")
            return Judged(report, seed, facts.get("fold"), trained_on, _data_name(path))
    return None


def _data_name(path: Path) -> str | None:
    """Return what a run's data is called; an older release wrote it into the bundle alone."""
    told: dict[str, Any] = read_json(path / "run.json") if (path / "run.json").is_file() else {}
    lineage = path / "bundle" / LINEAGE
    if "data" not in told and lineage.is_file():
        told = {"data": read_json(lineage).get("data", {}).get("name")}
    return told.get("data")


def _runs_below(path: Path) -> list[Judged]:
    found = [_judged(folder) for folder in sorted(path.iterdir()) if folder.is_dir()] if path.is_dir() else []
    return [run for run in found if run is not None]


def _sides_of(path: Path) -> list[Side]:
    """Return the side that a path names, or the arms of an experiment, its reference first."""
    one = _judged(path)
    if one is not None:
        return [Side(str(path), [one])]
    if (path / "experiment.json").is_file():
        facts = read_json(path / "experiment.json")
        folders: dict[str, list[Path]] = {}
        for arm in facts.get("arms", ()):
            folders[arm["name"]] = [path / run["folder"] for run in arm["runs"]]
        first = facts.get("reference", "")
        ordered = sorted(folders, key=lambda name: name != first)
        sides = [Side(f"{path}: {name}", [r for f in folders[name] if (r := _judged(f))]) for name in ordered]
        if sides and all(side.runs for side in sides):
            return sides
    if runs := _runs_below(path):
        return [Side(str(path), runs)]
    raise RunError("no finished run", where=str(path), hint="finish it with `bedplate run … --resume`")


def _check_alike(first: Side, other: Side) -> None:
    """Refuse sides that answer different questions."""
    one, two = first.runs[0].report, other.runs[0].report
    labels = [(report.confusion or {}).get("labels") for report in (one, two)]
    if one.kind != two.kind or labels[0] != labels[1]:
        received = " and ".join(listing(found, 4) if found else report.kind
                                for found, report in zip(labels, (one, two), strict=True))  # fmt: skip
        raise RunError(
            "the runs were judged on different data: they answer different questions", where=other.name,
            expected=f"the classes, or the number, of {first.name}", received=received,
            hint="compare runs of one dataset",
        )  # fmt: skip


def _unrelated(first: Side, other: Side) -> str | None:
    """Return why there is no verdict, where the sides judged data of other names and no rows in common.

    Data of one name may be split in another way: that is compared, and it is said what it costs.
    """
    this, that = ({run.data or "" for run in side.runs} for side in (other, first))
    rows, yours = ({run.report.rows_digest for run in side.runs} for side in (other, first))
    if "" in this | that or this & that or rows & yours:
        return None
    return f"no verdict, for it was judged on other data ({listing(sorted(this))}, not {listing(sorted(that))})"


def _tokens_differ(metric: str) -> str:
    """Return the end of a sentence on runs that are judged by the byte, as `Report.metric_against` has it."""
    return f"; on different tokens or texts, so by {metric}" if metric == "bits_per_byte" else ""


def _across(first: Side, other: Side) -> tuple[Verdict, dict[str, Any]]:
    """Compare several runs a side: paired by seed (and fold) where both sides have the same ones, else unpaired."""
    reports = [run.report for side in (first, other) for run in side.runs]
    metric = reports[0].metric_against(reports)
    mine, yours = other.values(metric), first.values(metric)
    this, that = float(np.mean(mine)), float(np.mean(yours))
    by_key = [
        {run.key: value for run, value in zip(side.runs, values, strict=True)}
        for side, values in ((other, mine), (first, yours))
    ]
    keys = list(by_key[0])
    paired = (
        set(keys) == set(by_key[1]) and None not in {seed for seed, _ in keys}
        and all(len(found) == len(side.runs) for found, side in zip(by_key, (other, first), strict=True))
    )  # fmt: skip
    least = min(len(first.runs), len(other.runs))
    if least < 2:
        text = f"{metric} {this:.4g} against {that:.4g}: one run on a side, too few to conclude across runs"
        text += _tokens_differ(metric)
        gap = this - that
        return Verdict(metric, this, that, gap, gap, gap, None, False, False, text), {"n": least}
    if paired:
        test = paired_t([by_key[0][k] for k in keys], [by_key[1][k] for k in keys], overlap=first.overlap)
    else:
        test = welch_t(mine, yours)
    verdict = Verdict(metric, this, that, test.difference, test.low, test.high, test.p_value, paired, False, "")
    facts = {"n": test.n, "method": test.method, "effect": test.effect, "detectable": test.detectable}
    return verdict, facts


def _in_words(verdict: Verdict, facts: Mapping[str, Any], p_value: float) -> Verdict:
    """Return the verdict across runs with its text, by the p-value that was corrected for several comparisons."""
    few = facts["n"] < FEWEST_RUNS
    real = p_value < 0.05 and not few
    better = (verdict.difference < 0) == (verdict.metric in LOWER_IS_BETTER)
    sides = f"{verdict.metric} {verdict.this:.4g} against {verdict.other:.4g}"
    test = f"p {p_value:.2g}, n {facts['n']}, {facts['method']}{_tokens_differ(verdict.metric)}"
    span = f"({verdict.low:+.2g} to {verdict.high:+.2g}; {test})"
    if few:
        text = f"{sides}: too few runs to conclude {span}"
    elif real:
        by = amount(verdict.difference, verdict.low, verdict.high)
        text = f"{sides}: really {'better' if better else 'worse'}, by {by}; {test}"
    else:
        text = f"{sides}: no real difference shown {span}"
    return Verdict(**{**vars(verdict), "real": real, "text": text})


def compare_runs(paths: Sequence[Path | Sequence[Path]]) -> Comparison:
    """Compare sides; the first is the reference.

    Args:
        paths: each a run's folder, a bundle, a folder of runs, or several of these as one side; an experiment's folder
            stands for all of its arms.

    Single runs are compared row by row where they judged the same test rows (McNemar's exact test, or a paired
    bootstrap of RMSE), and by their intervals otherwise. Language models that judged other tokens are compared by
    `bits_per_byte`; of data with other names and other rows there is no verdict. Several runs of a side are compared
    across runs: a t-test paired by seed, or Welch's. With more than two sides p-values are corrected (Holm).

    Raises:
        RunError: a folder holds no finished run, or the sides answer different questions.
    """
    found: list[Side] = []
    for given in paths:
        if isinstance(given, Path):
            found += _sides_of(given)
        else:
            parts = [side for path in given for side in _sides_of(path)]
            name = str(given[0]) if len(given) == 1 else f"{given[0]} … ({len(given)})"
            found.append(Side(name, [run for side in parts for run in side.runs]))
    if len(found) < 2:
        raise InputError("nothing to compare with", expected="two sides or more", received=found[0].name)
    sides: dict[str, Side] = {}
    for side in found:
        sides[side.name if side.name not in sides else f"{side.name} ({len(sides) + 1})"] = side
    first, *others = sides
    verdicts: dict[str, Verdict] = {}
    details: dict[str, dict[str, Any]] = {}
    for name in others:
        _check_alike(sides[first], sides[name])
        if len(sides[first].runs) == len(sides[name].runs) == 1:
            verdicts[name] = sides[name].runs[0].report.compare(sides[first].runs[0].report)
            details[name] = {"n": 1}
        else:
            verdicts[name], details[name] = _across(sides[first], sides[name])
        if why := _unrelated(sides[first], sides[name]):
            told = verdicts[name]
            text = f"{told.metric} {told.this:.4g} against {told.other:.4g}: {why}"
            none = {"p_value": None, "paired": False, "real": False, "text": text}
            verdicts[name], details[name] = Verdict(**{**vars(told), **none}), {"n": details[name]["n"]}
    tested = [name for name, verdict in verdicts.items() if verdict.p_value is not None]
    adjusted = holm([float(verdicts[name].p_value or 0.0) for name in tested])
    for name, p_value in zip(tested, adjusted, strict=True):
        details[name]["p_holm"] = p_value
        if "method" in details[name]:
            verdicts[name] = _in_words(verdicts[name], details[name], p_value)
        elif verdicts[name].real and p_value >= 0.05:
            text = f"{verdicts[name].text}; but not after correction for {len(tested)} comparisons (Holm)"
            verdicts[name] = Verdict(**{**vars(verdicts[name]), "real": False, "text": text})
    return Comparison(sides, verdicts, details)
