"""One search of ours beside the best single tools: the same graph, rows and labels, all graphs measured in one process.

    BEDPLATE_DATA=… python -m benchmarks.compression.peers [--runs DIR] [--models NAME …] [--effort EFFORT]
        [--only PEER …]

Each peer lives in an environment of its own (made in the system's temporary folder when missing; `roster.py` has its
packages and settings). It is given the run's f32 graph, the training rows that ours calibrates on, and the validation
rows with their labels. Ours is the front of `bedplate compress RUN --max-drop 0.5`. Test rows judge. The figures go to
`benchmarks/results/compression-peers.json`, a model at a time, the tables to docs/compression-results.md. What was made
lies in the system's temporary folder, in `bedplate-compression/peers`: it isn't made again; remove it to begin anew.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bedplate.bundle import Bundle
from bedplate.compression.isa import types_for
from bedplate.compression.variants import FOUNDATION
from bedplate.core.arrays import take
from bedplate.core.console import Console
from bedplate.core.machine import cpu_features, describe
from bedplate.stages.compress_bundle import RESULT
from bedplate.stages.compress_search import PLANS, Effort
from bedplate.stages.compress_source import open_source
from bedplate.stages.compress_trained import STORE, Trained, calibration_rows
from benchmarks.compression.judging import Bench, Comparison, compared, pairwise, same_accuracy
from benchmarks.compression.models import HOME, RECIPES, copied, trained
from benchmarks.compression.page import machine_line, write_page
from benchmarks.compression.roster import PEERS, Peer
from benchmarks.serving.environments import ROOT, Missing, environment, installed

RESULTS = ROOT / "benchmarks" / "results" / "compression-peers.json"
PROGRAMS = Path(__file__).parent / "tools"
ORIGINAL = "original"
MAX_DROP = 0.5


def write_inputs(source: Trained, run: Path, folder: Path, effort: Effort) -> None:
    """Write what every peer is given."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "f32.onnx").write_bytes(source.bundle.graph(FOUNDATION))
    np.savez(folder / "calibration.npz", **take(source.work.dataset.train.inputs, calibration_rows(source.work)))
    np.savez(folder / "validation.npz", **source.selection.inputs)
    np.save(folder / "validation_targets.npy", source.selection.targets)
    settings = {
        "run": str(run), "output": source.answers.output, "max_drop": MAX_DROP / 100,
        "epochs": epochs(source.work.recipe.training.epochs, effort),
        "reduce_range": types_for(cpu_features()).reduce_range,
    }  # fmt: skip
    (folder / "settings.json").write_text(json.dumps(settings))


def epochs(original: int, effort: Effort) -> int:
    """Return how long our students are trained in all, which a peer that trains gets too."""
    return sum(max(1, round(original * share)) for share in PLANS[effort].rungs)


def theirs(peers: Sequence[Peer], inputs: Path, folder: Path) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Return the peers' graphs by name, and what is to be told of each peer."""
    graphs, told = dict[str, bytes](), dict[str, Any]()
    for peer in peers:
        try:
            binaries = environment(peer.environment, peer.packages)
        except Missing as error:
            told[peer.name] = {"missing": str(error)}
            continue
        out = folder / peer.environment
        said, fault = out / "told.json", ""
        if not said.exists():
            print(f"{peer.name}: making graphs", flush=True)
            out.mkdir(parents=True, exist_ok=True)
            done = subprocess.run(
                [binaries / "python", PROGRAMS / peer.file, inputs, out], cwd=PROGRAMS, capture_output=True, text=True,
                check=False,
            )  # fmt: skip
            fault = (done.stderr.strip().splitlines() or ["it made nothing"])[-1][:200]
        made = json.loads(said.read_text()) if said.exists() else {}
        told[peer.name] = {"versions": installed(binaries, peer.main), "graphs": made, "settings": dict(peer.graphs)}
        if not made:
            told[peer.name]["missing"] = fault
        for name, facts in made.items():
            if "failed" not in facts:
                graphs[f"{peer.name}: {name}"] = (out / f"{name}.onnx").read_bytes()
            else:
                print(f"{peer.name}: {name}: {facts['failed']}", flush=True)
    return graphs, told


def ours(run: Path, folder: Path, effort: Effort) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Return the graphs of our front by name, and what the search said."""
    known = len(list((run / STORE).glob("*.safetensors")))
    seconds = folder.with_name("seconds.json")
    reused = (folder / RESULT).exists()
    if not reused:
        print("Bedplate: searching", flush=True)
        begun = time.monotonic()
        command = [
            sys.executable, "-m", "bedplate", "compress", str(run), "--max-drop", str(MAX_DROP), "--effort", effort,
            "--out", str(folder),
        ]  # fmt: skip
        done = subprocess.run(command, check=False)
        if done.returncode not in (0, 3):
            raise SystemExit(f"the search ended with {done.returncode}")
        seconds.write_text(json.dumps({"seconds": round(time.monotonic() - begun), "students_known": known}))
    found = json.loads((folder / RESULT).read_text())
    graphs = {}
    for point in found["front"]:
        if point["name"] != ORIGINAL:
            bundle = Bundle.open(folder / point["name"])
            (variant,) = bundle.variants
            graphs[f"ours: {point['name']}"] = bundle.graph(variant)
    told = {
        **json.loads(seconds.read_text()), "reused": reused, "effort": effort, "chosen": found["chosen"],
        "feasible": found["feasible"],
        "steps": {f"ours: {point['name']}": point["steps"] for point in found["front"]},
    }  # fmt: skip
    return graphs, told


def side_by_side(name: str, runs: Path, peers: Sequence[Peer], effort: Effort) -> dict[str, Any]:
    """Return one model's figures."""
    work = HOME / "peers" / f"{name}-{effort}"  # kept, so that a measurement that was stopped goes on
    run = work / name
    if not run.exists():
        copied(trained(name, runs), work, students=True)
    source = open_source(run, Console(quiet=True))
    assert isinstance(source, Trained)
    if not (work / "inputs" / "settings.json").exists():
        write_inputs(source, run, work / "inputs", effort)
    peers_graphs, told = theirs(peers, work / "inputs", work / "tools")
    own_graphs, search = ours(run, work / "front", effort)
    graphs = {ORIGINAL: source.bundle.graph(FOUNDATION), **own_graphs, **peers_graphs}
    bench = Bench(source.selection, source.test, source.answers.output)
    print(f"{name}: measuring {len(graphs)} graphs", flush=True)
    figures, answers = bench.figures(graphs, {})
    own = [figures[key] for key in own_graphs]
    verdicts = {}
    for key in peers_graphs:
        times = pairwise(own, key, graphs, bench)
        ratios = {
            one.name: (times[one.name].ratio, times[one.name].ratio_low, times[one.name].ratio_high) for one in own
        }
        p_values = {one.name: same_accuracy(answers[one.name], answers[key], source.test.targets) for one in own}
        verdicts[key] = compared(own, figures[key], ratios, p_values)
    return {
        "test_rows": len(source.test), "rounds": figures[ORIGINAL].latency.rounds,
        "epochs": epochs(source.work.recipe.training.epochs, effort),
        "search": search, "peers": told, "figures": [one.to_json() for one in figures.values()],
        "verdicts": {key: vars(one) for key, one in verdicts.items()},
        "machine": describe(), "date": time.strftime("%Y-%m-%d"),
    }  # fmt: skip


def table(results: Mapping[str, Any]) -> str:
    """Return the section of the page."""
    lines = [
        "Each tool alone, by the settings below, beside the front of one `bedplate compress RUN --max-drop 0.5`. All "
        "got the same f32 graph, calibration rows (training rows) and, where they take them, validation rows with "
        "labels. The drop is in points of accuracy on the test rows, with its upper bound at 95 %. The last column "
        "says what the best of our points is to a tool's graph: it *dominates* it where it is at least as small, as "
        "fast and, by the bound of the drop, as right, and better in one; it *equals* it where none of these is "
        "better, or where its bound is higher but the two graphs' answers differ no more than chance would have it "
        "(McNemar's p at least 0.05); else it is *behind*, in what is named. Times count as equal where the interval "
        "of their ratio (ours to theirs, in turns) holds 1. An *equals* by that test means that these rows show no "
        "difference, not that there is none.",
        "",
    ]
    for name, model in results["models"].items():
        lines += [f"**{name}**", "", *_model(model), ""]
    peers = next(iter(results["models"].values()))["peers"]
    lines += ["What the tools were told:", "", *[line for one in PEERS for line in _settings(one, peers.get(one.name))]]
    return "\n".join(lines)


def _model(model: Mapping[str, Any]) -> list[str]:
    lines = [
        "| graph | kB | 1 row ms (p95) | × original (95 %) | accuracy | drop (bound) | the best of ours |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for row in model["figures"]:
        lines.append(_line(row, model["verdicts"].get(row["name"])))
    for peer, told in model["peers"].items():
        if "missing" in told:
            lines.append(f"| {peer} | | | | | | {told['missing']} |")
        for name, facts in told.get("graphs", {}).items():
            if "failed" in facts:
                lines.append(f"| {peer}: {name} | | | | | | failed: {facts['failed']} |")
    behind = [key for key, one in model["verdicts"].items() if one["word"] == "behind"]
    words = [one["word"] for one in model["verdicts"].values()]
    lines += [
        "",
        f"Of {len(words)} graphs of other tools ours dominates {words.count('dominates')} and equals "
        f"{words.count('equals')}; " + (f"it is behind {', '.join(behind)}." if behind else "it is behind none."),
        f"Our search (`--effort {model['search']['effort']}`) took {model['search']['seconds']} s"
        f"{_known(model['search'])}; what Torch-Pruning made was trained for {model['epochs']} epochs, as ours was. "
        f"Test rows: {model['test_rows']:,}. {machine_line(model)}",
    ]  # fmt: skip
    return lines


def _known(search: Mapping[str, Any]) -> str:
    count = search["students_known"]
    known = ["its front was there already, by the same command"] if search["reused"] else []
    known += [f"it found {count} students that an earlier search had trained by the same steps"] if count else []
    return f" ({'; '.join(known)})" if known else ""


def _line(row: Mapping[str, Any], verdict: Mapping[str, Any] | None) -> str:
    latency = row["latency_ms"]
    ratio = f"{latency['ratio']:.2f} ({latency['ratio_low']:.2f}–{latency['ratio_high']:.2f})"
    drop = f"{row['drop']:+.2f} ({row['drop_high']:+.2f})"
    plain = row["name"] == ORIGINAL
    return (
        f"| {row['name']} | {row['size_bytes'] / 1e3:.1f} | {latency['median']:.3f} ({latency['p95']:.3f}) "
        f"| {'' if plain else ratio} | {row['accuracy']:.4f} | {'' if plain else drop} "
        f"| {told(Comparison(**verdict)) if verdict else ''} |"
    )


def told(one: Comparison) -> str:
    """Return a comparison in words."""
    value, low, high = one.ratio
    name = one.name.removeprefix("ours: ")
    speed = f"{value:.2f}× its time ({low:.2f}–{high:.2f})"
    if one.word == "behind":
        return f"**behind**: `{name}` lacks {' and '.join(one.lacks)}; {speed}"
    return f"`{name}` {one.word} it: {speed}"


def _settings(peer: Peer, facts: Mapping[str, Any] | None) -> list[str]:
    versions = ", ".join(f"{key} {value}" for key, value in (facts or {}).get("versions", {}).items())
    packages = " ".join(package.replace(str(ROOT), ".") for package in peer.packages)
    lines = [f"- {peer.name} ({versions or 'not installed'}; `pip install {packages}`)"]
    return lines + [f"  - {name}: {words}" for name, words in peer.graphs]


def main() -> None:
    """Measure, write the figures, and put the tables into the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=HOME / "runs", help="where the trained runs lie, or will")
    parser.add_argument("--models", nargs="*", default=list(RECIPES), choices=list(RECIPES))
    parser.add_argument("--effort", default="normal", choices=list(PLANS), help="of our search")
    parser.add_argument("--only", nargs="*", default=[], help="parts of peers' names; the page then stays as it is")
    given = parser.parse_args()
    peers = [p for p in PEERS if not given.only or any(word.lower() in p.name.lower() for word in given.only)]
    models = json.loads(RESULTS.read_text())["models"] if RESULTS.exists() else {}
    for name in given.models:
        models[name] = side_by_side(name, given.runs, peers, given.effort)
        results = {"models": {key: models[key] for key in RECIPES if key in models}}
        print(table(results), flush=True)
        if not given.only:
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")
            write_page("peers", table(results))


if __name__ == "__main__":
    main()
