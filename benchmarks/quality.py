"""Time to quality: whole recipes from the command line, start-up included, with several seeds.

    BEDPLATE_DATA=… python -m benchmarks.quality [--seeds 5] [NAME …]

Each run is a process of its own: `bedplate run NAME --set seed=…`. Its wall-clock seconds hold start-up, reading,
training, evaluation with baselines, compression and packing. Figures go to `benchmarks/results/quality.json`, the table
to docs/training.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bedplate.core.machine import describe

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "quality.json"
PAGE = ROOT / "docs" / "training.md"
BEGIN, END = "<!-- quality -->", "<!-- end of quality -->"
WANTED = {"digits": 0.98, "mnist": 0.992, "fashion-mnist": 0.925}


def run(name: str, seed: int) -> dict[str, Any]:
    """Run one recipe with one seed and return its figures."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, "-m", "bedplate", "run", name, "--out", f"{folder}/run", "--json", "--quiet",
            "--set", f"seed={seed}", "gate={}",
        ]  # fmt: skip
        begun = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{name}: {done.stderr}")
        seconds, found = time.monotonic() - begun, json.loads(done.stdout)
    one = {
        "seed": seed, "seconds": round(seconds, 1), "training_seconds": found["training"]["seconds"],
        "first_step_seconds": found["first_step_seconds"], "rows_per_second": found["rows_per_second"],
        "accuracy": found["metrics"]["accuracy"]["value"], "choices": found["choices"]["settled"],
    }  # fmt: skip
    print(name, one, flush=True)
    return one


def spread(values: list[float], digits: int) -> str:
    """Return mean ± standard deviation."""
    sd = statistics.stdev(values) if len(values) > 1 else float("nan")
    return f"{statistics.fmean(values):.{digits}f} ± {sd:.{digits}f}"


def table(results: dict[str, Any]) -> str:
    """Return the Markdown table."""
    lines = [
        "| recipe | wanted | test accuracy | whole run, s | training, s | start to first step, s | n | on |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for name, runs in results["recipes"].items():
        columns = [spread([one[key] for one in runs], digits) for key, digits in
                   (("accuracy", 4), ("seconds", 1), ("training_seconds", 1), ("first_step_seconds", 1))]  # fmt: skip
        lines.append(
            f"| {name} | {WANTED.get(name, '–')} | {' | '.join(columns)} | {len(runs)} | {results['on'][name]} |"
        )
    machine = results["machine"]
    versions = ", ".join(f"{k} {v}" for k, v in machine["versions"].items() if k in ("python", "torch", "onnxruntime"))
    lines += [
        "",
        f"{machine['threads']} threads, {versions}. Mean ± sd over seeds.",
    ]
    return "\n".join(lines)


def main() -> None:
    """Run, write the figures, and put the table into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(WANTED))
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    known: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"recipes": {}, "on": {}}
    for name in given.names:
        known["recipes"][name] = [run(name, seed) for seed in range(given.seeds)]
        known["machine"] = describe()
        known["on"][name] = f"{known['machine']['cpu']}, {time.strftime('%Y-%m-%d')}"
        RESULTS.write_text(json.dumps(known, indent=1) + "\n")
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{table(known)}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    print(table(known))


if __name__ == "__main__":
    main()
