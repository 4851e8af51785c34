"""Every method alone on one model: what it makes of size, latency and accuracy, and whether it was worth it.

    BEDPLATE_DATA=… python -m benchmarks.compression.methods [--runs DIR]

Methods that need training get one epoch by the recipe's settings. All graphs are timed in turns in one process. The
figures go to `benchmarks/results/compression-methods.json`, the table to docs/compression-results.md.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bedplate.compression.front import Budget
from bedplate.compression.noisy_student import taught_rows
from bedplate.compression.sparsity import compressed_bytes
from bedplate.core.arrays import take
from bedplate.core.console import Console
from bedplate.core.errors import InputError
from bedplate.core.machine import describe
from bedplate.stages.compress_judge import ORIGINAL, Candidate
from bedplate.stages.compress_maker import Maker
from bedplate.stages.compress_search import Search
from bedplate.stages.compress_source import open_source
from bedplate.stages.compress_trained import Trained
from benchmarks.compression.judging import Bench, Figures, Word, verdict
from benchmarks.compression.models import HOME, copied, trained
from benchmarks.compression.page import machine_line, thousands, write_page
from benchmarks.serving.environments import ROOT

RESULTS = ROOT / "benchmarks" / "results" / "compression-methods.json"
MODEL = "mnist"
SOFT: dict[str, Any] = {"do": "distil", "epochs": 1, "name": "soft-target"}
LABELS: dict[str, Any] = {"do": "distil", "epochs": 1, "name": "hard-target", "weight": 0.0}
"""Weight 0: the labels alone."""
QUARTER: dict[str, Any] = {"do": "prune", "macs": 0.25}


def _quantised(method: str) -> tuple[dict[str, Any], ...]:
    return ({"do": "quantise", "method": method},)


def _pruned(importance: str, *more: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    return ({**QUARTER, "importance": importance}, *more)


def _measured(importance: str, *more: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    return ({**QUARTER, "importance": importance, "allocation": "sensitivity"}, *more)


def _low_rank(method: str, *more: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    return ({"do": "factorise", "parameters": 0.4, "method": method}, *more)


def _tensor(method: str, *more: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    return ({"do": "decompose", "parameters": 0.4, "method": method}, *more)


def _distilled(name: str, **arguments: Any) -> tuple[dict[str, Any], ...]:
    return _pruned("taylor", {"do": "distil", "epochs": 1, "name": name, **arguments})


STEPS: dict[str, dict[str, tuple[dict[str, Any], ...]]] = {
    "quantisation": {
        "int8-static": _quantised("int8-static"),
        "int8-entropy": _quantised("int8-entropy"),
        "int8-percentile": _quantised("int8-percentile"),
        "int8-mixed": _quantised("int8-mixed"),
        "int8-dynamic": _quantised("int8-dynamic"),
        "int8-weights": _quantised("int8-weights"),
        "fp16-storage": _quantised("fp16-storage"),
        "training in 8 bits": ({"do": "quantise-aware", "epochs": 1},),
    },
    "channels, to 25 % of the MACs": {
        "by taylor": _pruned("taylor"),
        "by magnitude": _pruned("magnitude"),
        "at random": _pruned("random"),
        "by taylor, widths by sensitivity": _measured("taylor"),
        "by magnitude, widths by sensitivity": _measured("magnitude"),
        "by taylor, distilled": _pruned("taylor", SOFT),
        "by magnitude, distilled": _pruned("magnitude", SOFT),
        "at random, distilled": _pruned("random", SOFT),
        "by taylor, widths by sensitivity, distilled": _measured("taylor", SOFT),
        "by magnitude, widths by sensitivity, distilled": _measured("magnitude", SOFT),
    },
    "blocks": {"the least missed block": ({"do": "remove", "layers": 1},)},
    "low rank, to 40 % of the parameters": {
        "truncated SVD": _low_rank("svd"),
        "randomised SVD": _low_rank("randomised-svd"),
        "QR with column pivoting": _low_rank("qr"),
        "SVD weighted by activations": _low_rank("weighted-svd"),
        "truncated SVD, ranks by sensitivity": (
            {"do": "factorise", "parameters": 0.4, "method": "svd", "ranks": "sensitivity"},
        ),
        "truncated SVD, 90 % of the energy": ({"do": "factorise", "energy": 0.9, "method": "svd"},),
        "truncated SVD, distilled": _low_rank("svd", SOFT),
        "weighted SVD, distilled": _low_rank("weighted-svd", SOFT),
    },
    "tensor decomposition, each convolution to 40 %": {
        "Tucker-2": _tensor("tucker"),
        "CP": _tensor("cp"),
        "Tucker-2, distilled": _tensor("tucker", SOFT),
        "CP, distilled": _tensor("cp", SOFT),
    },
    "distillation, of the shape with 25 % of the MACs by taylor": {
        "labels alone": _pruned("taylor", LABELS),
        "soft target": _distilled("soft-target", temperature=4.0),
        "hard target": _distilled("hard-target"),
        "feature transfer": _distilled("feature-transfer"),
        "noisy student": _pruned("taylor", LABELS),  # on half of the labels; see `noisy`
    },
    "single weights": {
        "50 % zeros by magnitude": ({"do": "zero", "share": 0.5},),
        "50 % zeros at random": ({"do": "zero", "share": 0.5, "by": "random"},),
        "90 % zeros by magnitude": ({"do": "zero", "share": 0.9},),
        "90 % zeros by magnitude, gradually, distilled": ({**SOFT, "zeros": 0.9},),
    },
}
"""By group and name: the steps from the original on. The quantised forms are of the original itself."""

SPARSE = "single weights"
NOISY = "noisy student"
CONTROL = "the original once more"


@dataclass(frozen=True)
class Tried:
    """What a method made, or why it made nothing."""

    group: str
    name: str
    candidate: Candidate | None
    why: str = ""
    seconds: float = 0.0


def noisy(maker: Maker, store: Path) -> Maker:
    """Return a maker whose training rows have lost half of their labels, and have the original's answers instead.

    Those rows were labelled when the original was trained, so it knows them better than it would rows from outside.
    """
    bench = copy.copy(maker.bench)
    data = bench.data
    half = np.random.default_rng(0).permutation(len(data)) < len(data) // 2
    known, others = np.flatnonzero(half), np.flatnonzero(~half)
    labelled = replace(data, features=take(data.features, known), targets=data.targets[known])
    bench.identity += "-noisy"
    bench.data = taught_rows(bench.original, labelled, take(data.features, others))
    return Maker(bench, store)


def made(source: Trained, scratch: Path) -> list[Tried]:
    """Return what every method makes of the original."""
    maker = source.maker
    search, teach = Search(maker, "normal", Budget(), "this"), noisy(maker, scratch / "noisy")
    found = [_tried("", ORIGINAL, search.original)]
    # What the measurement itself says of two graphs that are the same.
    found.append(replace(found[0], name=CONTROL))
    for group, methods in STEPS.items():
        for name, steps in methods.items():
            by = Search(teach, "normal", Budget(), "this") if name == NOISY else search
            found.append(_tried(group, name, lambda by=by, name=name, steps=steps: by.replayed(name, steps)))
    return found


def _tried(group: str, name: str, make: Callable[[], Candidate]) -> Tried:
    begun = time.perf_counter()
    try:
        candidate = make()
    except InputError as error:
        return Tried(group, name, None, str(error))
    seconds = time.perf_counter() - begun
    print(f"{group}: {name}: {len(candidate.graph):,} bytes, {seconds:.1f} s", flush=True)
    return Tried(group, name, candidate, "", seconds)


def judged(tried: list[Tried], bench: Bench) -> list[dict[str, Any]]:
    """Return a row of the table for each method."""
    present = {f"{one.group}: {one.name}": one for one in tried if one.candidate}
    graphs = {key: one.candidate.graph for key, one in present.items() if one.candidate}
    facts = {
        key: {**one.candidate.costs, "lzma_bytes": compressed_bytes(one.candidate.graph)}
        for key, one in present.items() if one.candidate
    }  # fmt: skip
    figures, _ = bench.figures(graphs, facts)
    original = next(iter(figures.values()))
    floor = min(1.0, figures[f": {CONTROL}"].latency.ratio_low)
    rows = []
    for one in tried:
        row: dict[str, Any] = {"group": one.group, "method": one.name, "seconds": round(one.seconds, 1)}
        if one.candidate is None:
            rows.append({**row, "verdict": "not possible", "reason": one.why})
            continue
        mine = figures[f"{one.group}: {one.name}"]
        word, why = ("", "the reference") if mine is original else _verdict(one.group, mine, original, floor)
        rows.append({**row, **mine.to_json(), "name": one.name, "verdict": word, "reason": why})
    return rows


def _verdict(group: str, mine: Figures, original: Figures, floor: float) -> tuple[Word, str]:
    word, why = verdict(mine, original, floor=floor)
    if group == SPARSE and word == "no gain":
        share = mine.facts["lzma_bytes"] / original.facts["lzma_bytes"]
        why += f"; only {share:.2f}× the size once both are compressed by LZMA"
    return word, why


def table(results: Mapping[str, Any]) -> str:
    """Return the section of the page."""
    rows, original = results["rows"], results["rows"][0]
    lines = [
        f"On the run `{results['model']}` (its test rows: {results['test_rows']:,}), each method alone. What needs "
        "training got one epoch by the recipe's settings, which is short: it tells methods apart, not how far they can "
        f"be taken. A gain is 5 % smaller or surely faster, with at most {results['max_drop']:g} points lost by the "
        "bound (95 %); anything else is refused. The original once more shows what the "
        "measurement says of two "
        "graphs that are the same: only what lies below its whole interval is called "
        "faster. MACs count multiplications of one row; LZMA is the file's size once "
        "compressed without loss.",
        "",
        "| method | parameters | MACs | file kB | LZMA kB | 1 row ms (p95) | × original (95 %) | accuracy "
        "| drop, points (bound) | verdict |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    group = ""
    for row in rows:
        if row["group"] != group:
            group = row["group"]
            lines.append(f"| *{group}* | | | | | | | | | |")
        lines.append(_line(row, row is original))
    return "\n".join([*lines, "", machine_line(results)])


def _line(row: Mapping[str, Any], reference: bool) -> str:
    if "size_bytes" not in row:
        return f"| {row['method']} | | | | | | | | | not possible: {row['reason']} |"
    time_, verdict_ = row["latency_ms"], f"**{row['verdict']}**: {row['reason']}"
    ratio = f"{time_['ratio']:.2f} ({time_['ratio_low']:.2f}–{time_['ratio_high']:.2f})"
    drop = f"{row['drop']:+.2f} ({row['drop_high']:+.2f})"
    return (
        f"| {row['method']} | {row['parameters']:,} | {thousands(row.get('macs'))} | {row['size_bytes'] / 1e3:.1f} "
        f"| {row['lzma_bytes'] / 1e3:.1f} | {time_['median']:.3f} ({time_['p95']:.3f}) | {'' if reference else ratio} "
        f"| {row['accuracy']:.4f} | {'' if reference else drop} "
        f"| {row['reason'] if reference else verdict_} |"
    )


def main() -> None:
    """Try all methods, write the figures, and put the table into the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=HOME / "runs", help="where the trained runs lie, or will")
    given = parser.parse_args()
    work = HOME / "methods"  # kept: what was trained is not trained again
    run = work / MODEL
    if not run.exists():
        copied(trained(MODEL, given.runs), work)
    source = open_source(run, Console(quiet=True))
    assert isinstance(source, Trained)
    begun = time.monotonic()
    tried = made(source, work)
    bench = Bench(source.selection, source.test, source.answers.output)
    rows = judged(tried, bench)
    results = {
        "model": MODEL, "machine": describe(), "date": time.strftime("%Y-%m-%d"), "max_drop": 0.5, "epochs": 1,
        "test_rows": len(source.test), "rounds": rows[0]["latency_ms"]["rounds"],
        "seconds": round(time.monotonic() - begun), "rows": rows,
    }  # fmt: skip
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    write_page("methods", table(results))
    print(table(results))


if __name__ == "__main__":
    main()
