"""Write text with one set of weights in several ways, in turns in one run, and write a table of tokens a second.

    python -m benchmarks.generation [--rounds 7] [--threads 1] [--quick]

Each round asks every way once, in an order that moves on by one. All continue the same prompts greedily, and must write
the same tokens (int8 may differ). Hugging Face's `generate` runs in an environment of its own, on our weights written
as a GPT-2 checkpoint. The figures go to `benchmarks/results/generation.json`, the table to docs/generation.md, if
nothing was left out.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bedplate.bundle.session import OnnxPredict
from bedplate.codecs.codec import NEVER, TOKENS
from bedplate.compression import methods
from bedplate.core.machine import cpu_features, describe
from bedplate.export import export_network
from bedplate.generation.decoder import Decoder
from bedplate.models import Network, Outputs, TextInput, build
from benchmarks.generation.checkpoint import write_gpt2
from benchmarks.serving.environments import ROOT, Missing, environment, installed

RESULTS = ROOT / "benchmarks" / "results" / "generation.json"
PAGE = ROOT / "docs" / "generation.md"
BEGIN, END = "<!-- speed -->", "<!-- end of speed -->"
PEER = Path(__file__).parent / "peers" / "transformers_.py"
PACKAGES = ("torch==2.13.0", "transformers==5.23.0", "numpy==2.4.6")

Write = Callable[[np.ndarray, int], tuple[list[list[int]], float]]
"""Prompts [rows, length] and how many tokens to write; returns them and the seconds that it took."""


@dataclass(frozen=True)
class Size:
    """A decoder, and what it is asked."""

    name: str
    size: int
    heads: int
    layers: int
    vocabulary: int
    context: int
    prompt: int
    tokens: int


SIZES = (
    Size("small", 128, 4, 4, 67, 256, 64, 64),
    Size("medium", 256, 8, 6, 4000, 256, 64, 24),
)


def network_of(size: Size) -> Network:
    """Return a decoder with random weights, large enough that its scores differ."""
    arguments = {"size": size.size, "heads": size.heads, "layers": size.layers, "positions": "learnt"}
    outputs = Outputs(size.vocabulary, sequence=True)
    network = build("transformer-decoder", arguments, TextInput(size.vocabulary, size.context), outputs, 0).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("tokens.weight"):
                parameter.mul_(10)
    return network


def with_cache(predict: OnnxPredict, context: int) -> Write:
    """Return what continues prompts token by token from a cache."""

    def write(prompts: np.ndarray, tokens: int) -> tuple[list[list[int]], float]:
        started = time.perf_counter()
        decoder = Decoder(predict.step, predict.past, context)
        found = [decoder.join(prompts.tolist()).argmax(axis=1)]
        for _ in range(tokens - 1):
            found.append(decoder.advance(found[-1]).argmax(axis=1))
        return np.stack(found, axis=1).tolist(), time.perf_counter() - started

    return write


def without_cache(predict: OnnxPredict) -> Write:
    """Return what reads the whole text again for every token."""

    def write(prompts: np.ndarray, tokens: int) -> tuple[list[list[int]], float]:
        started = time.perf_counter()
        text = prompts
        for _ in range(tokens):
            scores = predict({TOKENS: text})["logits"][:, -1].copy()
            scores[:, list(NEVER)] = -np.inf
            text = np.concatenate([text, scores.argmax(axis=1)[:, None].astype(np.int32)], axis=1)
        return text[:, prompts.shape[1] :].tolist(), time.perf_counter() - started

    return write


class HuggingFace:
    """`generate` in a process of its own."""

    def __init__(self, python: Path, folder: Path, threads: int) -> None:
        self._process = subprocess.Popen(
            [python, PEER, folder, str(threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=(folder / "errors.txt").open("w"), text=True,
        )  # fmt: skip
        self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"transformers ended with {self._process.wait()}; see its standard error")
        found: dict[str, Any] = json.loads(line)
        return found

    def writing(self, cache: bool) -> Write:
        """Return what continues prompts, with its cache or without."""

        def write(prompts: np.ndarray, tokens: int) -> tuple[list[list[int]], float]:
            assert self._process.stdin is not None
            self._process.stdin.write(
                json.dumps({"prompts": prompts.tolist(), "tokens": tokens, "cache": cache}) + "\n"
            )
            self._process.stdin.flush()
            answer = self._answer()
            return answer["tokens"], float(answer["seconds"])

        return write

    def end(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)


def ways(size: Size, folder: Path, python: Path | None, threads: int) -> tuple[dict[str, Write], HuggingFace | None]:
    """Return each way of writing by name, and the other process."""
    network = network_of(size)
    sample = {TOKENS: np.random.default_rng(0).integers(2, size.vocabulary, (8, 32)).astype(np.int32)}
    model = export_network(network, sample)
    found: dict[str, Write] = {}
    for name in ("f32", "int8-dynamic", "int8-weights"):
        graph = model if name == "f32" else methods.get(name)(model, sample, cpu_features())
        predict = OnnxPredict(graph.SerializeToString(), variant=name, threads=threads)
        found[f"Bedplate, {name}, cache"] = with_cache(predict, size.context)
        if name == "f32":
            found["Bedplate, f32, no cache"] = without_cache(predict)
    if python is None:
        return found, None
    write_gpt2(network, size.heads, folder)
    peer = HuggingFace(python, folder, threads)
    found["Hugging Face generate, cache"] = peer.writing(True)
    found["Hugging Face generate, no cache"] = peer.writing(False)
    return found, peer


def measure(size: Size, rows: int, found: dict[str, Write], rounds: int, tokens: int) -> dict[str, Any]:
    """Return each way's tokens a second in every round, and how many of its tokens are the first way's."""
    prompts = np.random.default_rng(1).integers(2, size.vocabulary, (rows, size.prompt)).astype(np.int32)
    names, rates = list(found), {name: list[float]() for name in found}
    same: dict[str, float] = {}
    wanted: np.ndarray | None = None
    for name in names:  # once to warm up, and to compare what is written
        written = np.array(found[name](prompts, tokens)[0])
        wanted = written if wanted is None else wanted
        same[name] = float((written == wanted).mean())
    for number in range(rounds):
        for name in [*names[number % len(names) :], *names[: number % len(names)]]:
            rates[name].append(rows * tokens / found[name](prompts, tokens)[1])
    return {
        name: {"median": statistics.median(rates[name]), "rounds": rates[name], "same_tokens": same[name]}
        for name in names
    }


def table(results: dict[str, Any]) -> str:
    """Return the Markdown table."""
    columns = list(results["figures"])
    lines = [
        "| tokens a second | " + " | ".join(columns) + " |",
        "|---|" + "---:|" * len(columns),
    ]
    for name in results["figures"][columns[0]]:
        cells = []
        for column in columns:
            one = results["figures"][column].get(name)
            low, high = (min(one["rounds"]), max(one["rounds"])) if one else (0, 0)
            cells.append(f"{one['median']:,.0f} ({low:,.0f}–{high:,.0f})" if one else "–")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    machine, versions = results["machine"], results["versions"]
    sizes = "; ".join(results["sizes"])
    lines += [
        "",
        f"Median (lowest to highest) of {results['rounds']} rounds in turns, greedy, {results['threads']} "
        f"thread{'s' if results['threads'] > 1 else ''} of {machine['cpu']}, other work beside. {sizes}. "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + ".",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, and write the figures and the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="a few tokens of the small one, and nothing is written")
    given = parser.parse_args()
    try:
        binaries = environment("transformers", PACKAGES)
        python, versions = binaries / "python", installed(binaries, ("transformers", "torch"))
    except Missing as error:
        print(f"Hugging Face: {error}", flush=True)
        python, versions = None, {}
    figures: dict[str, Any] = {}
    sizes = SIZES[:1] if given.quick else SIZES
    for size in sizes:
        with tempfile.TemporaryDirectory() as text:
            found, peer = ways(size, Path(text), python, given.threads)
            for rows in (1, 8):
                key = f"{size.name}, {rows} row{'s' if rows > 1 else ''}"
                tokens = 8 if given.quick else size.tokens
                figures[key] = measure(size, rows, found, 2 if given.quick else given.rounds, tokens)
                for name, one in figures[key].items():
                    print(
                        f"{key:16} {name:32} {one['median']:9,.0f} tokens/s, same {one['same_tokens']:.0%}", flush=True
                    )
            if peer is not None:
                peer.end()
    import onnxruntime

    results = {
        "figures": figures, "rounds": given.rounds, "threads": given.threads, "machine": describe(),
        "versions": {"onnxruntime": onnxruntime.__version__, **versions},
        "sizes": [
            f"{size.name}: {size.layers} blocks of {size.size}, {size.vocabulary:,} tokens, prompts of {size.prompt}, "
            f"{size.tokens} written"
            for size in sizes
        ],
    }  # fmt: skip
    print(table(results))
    if given.quick or python is None:
        return
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    page = PAGE.read_text()
    before, rest = page.split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{table(results)}\n{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    main()
