"""The training benchmark on a GPU: Bedplate and its peers in turns, each in a process of its own.

    BEDPLATE_DATA=… python -m benchmarks.gpu.training [--rounds 5] [--rows 25600]

All trainers share the environment that runs this, so that a machine without a package index will do; it must hold
`lightning`, and `keras` with the torch backend. Writes benchmarks/results/training-gpu.json, and a section of
docs/training.md.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from bedplate.core.machine import describe
from benchmarks.training.__main__ import ROOT, Peer, measure, write_data, write_page

RESULTS = ROOT / "benchmarks" / "results" / "training-gpu.json"
CUDA = (("PEER_DEVICE", "cuda"),)
TRAINERS = [
    Peer("Bedplate", "bedplate_.py", settings=CUDA),
    Peer("Bedplate, bf16, not compiled", "bedplate_.py",
         settings=(*CUDA, ("PEER_PRECISION", "bf16"), ("PEER_COMPILE", "no"))),
    Peer("Bedplate, fp32, not compiled", "bedplate_.py",
         settings=(*CUDA, ("PEER_PRECISION", "fp32"), ("PEER_COMPILE", "no"))),
    Peer("PyTorch loop, DataLoader", "plain.py", settings=CUDA),
    Peer("Lightning", "lightning_.py", settings=CUDA),
    Peer("Keras, torch", "keras_.py", settings=(*CUDA, ("KERAS_BACKEND", "torch"))),
]  # fmt: skip


def main() -> None:
    """Measure, write the figures, and put the table into the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=25_600)
    parser.add_argument("--models", nargs="*", default=["cnn", "mlp"])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        write_data(folder, given.rows)
        models = {model: measure(TRAINERS, model, folder, given.rounds) for model in given.models}
        if (folder / "errors.txt").stat().st_size:
            print((folder / "errors.txt").read_text()[-1500:])
    results = {
        "machine": describe(), "gpu": torch.cuda.get_device_name(), "date": time.strftime("%Y-%m-%d"),
        "rows": given.rows, "rounds": given.rounds, "models": models,
    }  # fmt: skip
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    write_page("<!-- gpu -->", "<!-- end of gpu -->", table(results))


def table(results: dict[str, Any]) -> str:
    """Return the Markdown table."""
    lines = []
    titles = {"cnn": "CNN 32-64-64 on 28×28 images", "mlp": "MLP 256-128 on Adult's 108 columns"}
    for model, figures in results["models"].items():
        lines += [
            f"**{titles[model]}**, batch 128, {results['rows']:,} rows an epoch, {results['rounds']} rounds in turns:",
            "",
            "| trainer | rows/s (median) | the first is … times as fast (lowest to highest round) | to first step |",
            "| --- | ---: | ---: | ---: |",
        ]
        first = next(iter(figures))
        for name, one in figures.items():
            ratio = f"{one['ratio']:.2f} ({one['ratio_low']:.2f} to {one['ratio_high']:.2f})" if name != first else ""
            lines.append(f"| {name} | {one['median']:,.0f} | {ratio} | {one['first_step_seconds']:.1f} s |")
        lines.append("")
    machine = results["machine"]
    versions = ", ".join(f"{k} {v}" for k, v in machine["versions"].items() if k in ("python", "torch", "numpy"))
    lines.append(f"{results['gpu']}, {machine['cpu']}, {machine['threads']} threads, {versions}; {results['date']}.")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
