"""Train the same models on the same rows with Bedplate and its peers, in turns in one run, and write a table of ratios.

    BEDPLATE_DATA=… python -m benchmarks.training [--rounds 7] [--only NAME …] [--models cnn mlp lstm transformer]

Each trainer lives in a process and an environment of its own (made in the system's temporary folder when missing). In
every round each of them trains one epoch, one after the other, so that other work on the machine meets all alike. A
ratio is the median over the rounds of (this trainer's rows a second / the other's in the same round). The figures go to
`benchmarks/results/training.json`, the tables to docs/training.md. They come in parts (images and tables together, each
model of texts alone); a part is written where all its models and trainers were measured in this run, the others stay.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bedplate.codecs.codec import Codec
from bedplate.core.arrays import Arrays, take
from bedplate.core.machine import describe
from benchmarks.training.peers.protocol import BATCH

ROOT = Path(__file__).parents[2]
PEERS = Path(__file__).parent / "peers"
RESULTS = ROOT / "benchmarks" / "results" / "training.json"
PAGE = ROOT / "docs" / "training.md"
MARKS = {
    "rows": ("<!-- speed -->", "<!-- end of speed -->"),
    "lstm": ("<!-- speed of the LSTM -->", "<!-- end of speed of the LSTM -->"),
    "transformer": ("<!-- speed of the transformer -->", "<!-- end of speed of the transformer -->"),
}
CNN_FLOP = 16.8e6
"""Arithmetic of one image, forward and backward: 3 · 2 · (676·9·32 + 121·288·64 + 9·576·64 + 576·64 + 640)."""


PARTS = {"rows": ("cnn", "mlp"), "lstm": ("lstm",), "transformer": ("transformer",)}
"""What is measured together, on one machine and day."""
ROWS = {"rows": 12_800, "lstm": 96, "transformer": 96}
TEXTS = ("lstm", "transformer")
TITLES = {
    "cnn": "CNN 32-64-64 on 28×28 images",
    "mlp": "MLP 256-128 on Adult's 108 columns",
    "lstm": "LSTM of 128 units each way on IMDB's texts, 3.24 M parameters",
    "transformer": "Transformer encoder, 2 blocks of 128, on IMDB's texts, 4.29 M parameters",
}


@dataclass(frozen=True)
class Peer:
    """One trainer: its file, what its environment holds, its settings, and the models that it trains."""

    name: str
    file: str
    packages: tuple[str, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()
    models: tuple[str, ...] = ("cnn", "mlp")


TORCH = "torch==2.13.0"
ALL = (*PARTS["rows"], *TEXTS)
PLAIN = (TORCH, "numpy==2.4.6")


TRAINERS = (
    # The command sets GOMP_SPINCOUNT for every run; here it is set likewise.
    Peer("Bedplate", "bedplate_.py", settings=(("GOMP_SPINCOUNT", "10000"),), models=ALL),
    Peer(
        "Bedplate, fp32", "bedplate_.py", settings=(("GOMP_SPINCOUNT", "10000"), ("PEER_PRECISION", "fp32")),
        models=ALL,
    ),
    Peer("PyTorch loop, DataLoader", "plain.py", PLAIN),
    *(
        Peer(f"PyTorch loop, {words}", "plain_texts.py", PLAIN, (("PEER_BATCHES", how),), TEXTS)
        for words, how in (("padded to 400", "padded"), ("batches of like length, tuned", "bucketed"))
    ),
    Peer("Lightning 2.6.6", "lightning_.py", (TORCH, "lightning==2.6.6", "numpy==2.4.6")),
    Peer("skorch 1.4.0", "skorch_.py", (TORCH, "skorch==1.4.0")),
    Peer("Keras 3.15.1, torch", "keras_.py", (TORCH, "keras==3.15.1"), (("KERAS_BACKEND", "torch"),), ALL),
    Peer(
        "tf.keras 2.21, float32", "keras_.py", ("tensorflow-cpu==2.21.0", "keras==3.15.1"),
        (("KERAS_BACKEND", "tensorflow"),), ALL,
    ),
    Peer(
        "tf.keras 2.21, mixed_bfloat16", "keras_.py", ("tensorflow-cpu==2.21.0", "keras==3.15.1"),
        (("KERAS_BACKEND", "tensorflow"), ("PEER_PRECISION", "mixed_bfloat16")), ALL,
    ),
)  # fmt: skip


def lever(name: str, **settings: str) -> Peer:
    """Return Bedplate with every choice made by hand."""
    given = {
        "GOMP_SPINCOUNT": "10000", "PEER_PRECISION": "bf16", "PEER_LAYOUT": "channels_last", "PEER_COMPILE": "no",
        **settings,
    }  # fmt: skip
    return Peer(name, "bedplate_.py", settings=tuple((key, value) for key, value in given.items() if value))


LEVERS = (
    lever("bf16, channels_last, memory kept, short spin"),
    lever("contiguous", PEER_LAYOUT="contiguous"),
    lever("fp32", PEER_PRECISION="fp32"),
    lever("fp32, contiguous", PEER_PRECISION="fp32", PEER_LAYOUT="contiguous"),
    lever("freed memory given back", PEER_KEEP="no"),
    lever("fp32, freed memory given back", PEER_PRECISION="fp32", PEER_KEEP="no"),
    lever("threads sleep at once (OMP_WAIT_POLICY=passive)", GOMP_SPINCOUNT="", OMP_WAIT_POLICY="passive"),
    lever("threads spin as the library likes", GOMP_SPINCOUNT=""),
    lever("compiled (torch.compile)", PEER_COMPILE="yes"),
)
"""What each choice does: all as it should be, then one thing (or two) changed at a time."""


def environment(peer: Peer) -> str:
    """Return the interpreter of the peer's environment, which is made when it is missing."""
    if not peer.packages:
        return sys.executable
    name = "-".join(sorted(package.partition("=")[0] for package in peer.packages))
    folder = Path(tempfile.gettempdir()) / "bedplate-peers" / name
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        print(f"making the environment of {peer.name}", flush=True)
        free = {key: value for key, value in os.environ.items() if key != "PIP_CONSTRAINT"}
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *peer.packages], check=True, env=free)
        (folder / "ready").touch()
    return str(python)


def write_data(folder: Path, models: list[str]) -> None:
    """Write the rows that all train on: MNIST's images, Adult's columns as numbers, the tokens of IMDB's texts."""
    from bedplate.data.load import load_dataset
    from bedplate.recipe.load import load
    from bedplate.stages.resolve import shipped_recipes

    recipes = {
        "cnn": "image-classification/mnist", "mlp": "tabular-classification/adult", "lstm": "text-classification/imdb",
        "transformer": "text-classification/imdb",
    }  # fmt: skip
    for name in dict.fromkeys(recipes[model] for model in models):
        path = shipped_recipes()[name]
        recipe = load(path)
        dataset = load_dataset(recipe.data, recipe.task, 0, base=path.parent, announce=lambda text: None)
        chosen = np.random.default_rng(0).permutation(len(dataset.train.targets))
        for model in (one for one in models if recipes[one] == name):
            rows = chosen[: rows_of(model)]
            features = matrix_of(model, dataset.codec, take(dataset.train.inputs, rows), dataset.train.inputs)
            np.save(folder / f"{model}_features.npy", np.ascontiguousarray(features))
            np.save(folder / f"{model}_targets.npy", dataset.train.targets[rows].astype(np.int64))


def matrix_of(model: str, codec: Codec, inputs: Arrays, all_inputs: Arrays) -> np.ndarray:
    """Return the rows' pixels, token numbers, or numbers and categories side by side, one column a known one."""
    features = codec.features(inputs)
    if model != "mlp":
        return features["image" if model == "cnn" else "tokens"]
    counts = codec.features(all_inputs)["categories"].max(0) + 1
    columns = zip(features["categories"].T, counts, strict=True)
    return np.concatenate([features["numeric"], *(np.eye(n, dtype=np.float32)[column] for column, n in columns)], 1)


def part_of(model: str) -> str:
    """Return the part that a model is measured in."""
    return next(part for part, models in PARTS.items() if model in models)


def rows_of(model: str) -> int:
    """Return the rows of an epoch."""
    return ROWS[part_of(model)]


class Trainer:
    """One trainer's process."""

    def __init__(self, peer: Peer, model: str, folder: Path) -> None:
        self.peer = peer
        self.process = subprocess.Popen(
            [environment(peer), PEERS / peer.file, model, folder],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=(folder / "errors.txt").open("a"), text=True,
            env={**os.environ, **dict(peer.settings)}, cwd=folder,
        )  # fmt: skip
        self.first_step: float = self._answer()["first_step_seconds"]

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.peer.name} ended with {self.process.wait()}; see its standard error")
        found: dict[str, Any] = json.loads(line)
        return found

    def epoch(self) -> float:
        """Train one epoch and return its rows a second."""
        assert self.process.stdin is not None
        self.process.stdin.write("epoch\n")
        self.process.stdin.flush()
        answer = self._answer()
        return float(answer["rows"] / answer["seconds"])

    def end(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(60)


def peak(precision: str) -> float:
    """Return the machine's measured arithmetic peak in FLOP/s: the best of some square matrix products."""
    program = (
        "import sys, time, torch; t = getattr(torch, sys.argv[1]); best = 0.0\n"
        "for n in (1024, 2048):\n"
        "    a, b = torch.randn(n, n).to(t), torch.randn(n, n).to(t)\n"
        "    for _ in range(12):\n"
        "        s = time.perf_counter(); a @ b; best = max(best, 2 * n**3 / (time.perf_counter() - s))\n"
        "print(best)"
    )
    done = subprocess.run([sys.executable, "-c", program, precision], capture_output=True, text=True, check=True)
    return float(done.stdout)


def measure(peers: list[Peer], model: str, folder: Path, rounds: int) -> dict[str, Any]:
    """Return each trainer's rows a second in each round, and the seconds to its first step."""
    found: dict[str, Any] = {}
    trainers = []
    for peer in peers:
        trainer = Trainer(peer, model, folder)
        trainer.epoch()  # warm
        trainers.append(trainer)
        found[peer.name] = {"first_step_seconds": round(trainer.first_step, 2), "rows_per_second": []}
    for number in range(rounds):
        for trainer in trainers:
            found[trainer.peer.name]["rows_per_second"].append(round(trainer.epoch(), 2))
        print(
            f"{model} round {number + 1}/{rounds}",
            {n: f["rows_per_second"][-1] for n, f in found.items()},
            flush=True,
        )
    for trainer in trainers:
        trainer.end()
    first = found[peers[0].name]["rows_per_second"]
    for figures in found.values():
        ratios = [own / other for own, other in zip(first, figures["rows_per_second"], strict=True)]
        figures["median"] = statistics.median(figures["rows_per_second"])
        figures["ratio"], figures["ratio_low"], figures["ratio_high"] = (
            statistics.median(ratios),
            min(ratios),
            max(ratios),
        )
    return found


def table(results: dict[str, Any]) -> str:
    """Return the Markdown tables of what was measured together."""
    machine, lines = results["machine"], []
    for model, figures in results["models"].items():
        lines += [
            f"**{TITLES[model]}**, batch {BATCH[model]}, {results['rows']:,} rows an epoch, "
            f"{results['rounds']} rounds in turns:",
            "",
            "| trainer | rows/s (median) | the first is … times as fast (lowest to highest round) | to first step |",
            "| --- | ---: | ---: | ---: |",
        ]  # fmt: skip
        for name, one in figures.items():
            ratio = f"{one['ratio']:.2f} ({one['ratio_low']:.2f} to {one['ratio_high']:.2f})"
            ratio = "" if name == next(iter(figures)) else ratio
            rate = f"{one['median']:,.{1 if one['median'] < 100 else 0}f}"
            lines.append(f"| {name} | {rate} | {ratio} | {one['first_step_seconds']:.1f} s |")
        lines.append("")
    own = next(iter(results["models"].get("cnn", {}).values()), None)
    if own:
        used, peaks = own["median"] * CNN_FLOP, results["peak"]
        lines += [
            f"The measured arithmetic peak of the machine is {peaks['float32'] / 1e9:,.0f} GFLOP/s in float32 and "
            f"{peaks['bfloat16'] / 1e9:,.0f} in bfloat16 (the best of several matrix products). At 16.8 MFLOP an "
            f"image the CNN's training uses {used / 1e9:,.0f} GFLOP/s, {used / peaks['bfloat16']:.1%} of the latter: "
            "this small network is bound by memory, not by arithmetic.", "",
        ]  # fmt: skip
    versions = ", ".join(f"{k} {v}" for k, v in machine["versions"].items() if k in ("python", "torch", "numpy"))
    threads = "1 thread" if machine["threads"] == 1 else f"{machine['threads']} threads"
    lines.append(f"{machine['cpu']}, {threads}, {versions}; {results['date']}.")
    return "\n".join(lines)


def main() -> None:
    """Measure, write the figures, and put the tables into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", nargs="*", default=[], help="names of trainers; Bedplate always runs")
    parser.add_argument("--levers", action="store_true", help="compare Bedplate's own choices instead of peers")
    parser.add_argument("--models", nargs="*", default=list(ALL), choices=ALL)
    given = parser.parse_args()
    wanted = [p for p in TRAINERS if not given.only or p.name in ("Bedplate", *given.only)]
    peers = list(LEVERS) if given.levers else wanted
    models = [m for m in given.models if not given.levers or m in PARTS["rows"]]
    trained = {model: [peer for peer in peers if model in peer.models] for model in models}
    for peer in dict.fromkeys(peer for some in trained.values() for peer in some):
        environment(peer)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        write_data(folder, models)
        for part, names in PARTS.items():
            found = {model: measure(trained[model], model, folder, given.rounds) for model in names if model in models}
            if not found:
                continue
            peaks = {precision: peak(precision) for precision in ("float32", "bfloat16")}
            results = {
                "machine": describe(), "date": time.strftime("%Y-%m-%d"), "rows": ROWS[part], "rounds": given.rounds,
                "peak": peaks, "models": found,
            }  # fmt: skip
            print(table(results))
            if given.levers:
                RESULTS.with_name("levers.json").write_text(json.dumps(results, indent=1) + "\n")
                write_page("<!-- levers -->", "<!-- end of levers -->", table(results))
            elif not given.only and len(found) == len(names):
                keep(part, results)
                write_page(*MARKS[part], table(results))
        if (folder / "errors.txt").stat().st_size:
            print((folder / "errors.txt").read_text()[-1500:])


def keep(part: str, results: dict[str, Any]) -> None:
    """Put a part's figures into the file; the others' stay."""
    there = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps({**there, part: results}, indent=1) + "\n", encoding="utf-8")


def write_page(begin: str, end: str, text: str) -> None:
    """Put text between two marks of the page."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(begin)
    PAGE.write_text(f"{before}{begin}\n{text}\n{end}{rest.partition(end)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
