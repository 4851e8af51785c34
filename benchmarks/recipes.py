"""Run every shipped recipe in full and write their scores, beside the baselines of the same run, to docs/results.md.

    BEDPLATE_DATA=… python -m benchmarks.recipes [NAME …]

The figures go to `benchmarks/results/recipes.json` with the hardware and versions; the page is written from that file.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bedplate.core.machine import describe
from bedplate.stages.resolve import shipped_recipes

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "recipes.json"
PAGE = ROOT / "docs" / "results.md"
BEGIN, END = "<!-- results -->", "<!-- end of results -->"


def run(name: str) -> dict[str, Any]:
    """Run one recipe in a process of its own and return its `--json`."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "bedplate", "run", name, "--out", f"{folder}/run", "--json", "--quiet"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 1):
            raise SystemExit(f"{name}: {done.stderr}")
        found: dict[str, Any] = json.loads(done.stdout)
        return found


def leading(figures: dict[str, Any]) -> list[str]:
    """Return the metrics that a table shows: accuracy and, for two classes, AUROC; RMSE; or a forecast's."""
    if "rmse" in figures["metrics"]:
        return ["rmse"]
    if "mase" in figures["metrics"]:
        return ["mse", "mase"]
    return ["accuracy", "auroc"] if "auroc" in figures["metrics"] else ["accuracy"]


def number(value: float) -> str:
    """Return a figure for the table."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.4f}"


def table(results: dict[str, dict[str, Any]]) -> str:
    """Return the Markdown table."""
    lines = [
        "| recipe | test rows | metric | this model (95 % interval) | linear | boosting | training s | run s |",
        "| --- | ---: | --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for name, figures in results.items():
        for index, metric in enumerate(leading(figures)):
            estimate = figures["metrics"][metric]
            own = f"**{number(estimate['value'])}** ({number(estimate['low'])}–{number(estimate['high'])})"
            base = {label: scores[metric] for label, scores in figures["baselines"].items() if metric in scores}
            linear = next((number(v) for label, v in base.items() if "regression" in label), "–")
            boosted = number(base["gradient boosting"]) if "gradient boosting" in base else "–"
            first = [f"`{name}`", f"{figures['rows']['test']:,}"] if index == 0 else ["", ""]
            last = [f"{figures['training']['seconds']:.0f}", f"{figures['seconds']:.0f}"] if index == 0 else ["", ""]
            lines.append("| " + " | ".join([*first, metric, own, linear, boosted, *last]) + " |")
    return "\n".join(lines)


def write_page(saved: dict[str, Any]) -> None:
    """Write the page's generated part."""
    machine = saved["machine"]
    packages = ("python", "torch", "onnxruntime", "scikit-learn", "numpy")
    versions = ", ".join(f"{name} {machine['versions'][name]}" for name in packages if name in machine["versions"])
    where = f"{machine['threads']} threads of {machine['cpu']}, shared with other work"
    note = f"n = 1 run each, seed 0, on {where}; {versions}."
    text = f"{BEGIN}\n{table(saved['results'])}\n\n{note}\n{END}"
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(before + text + after, encoding="utf-8")


def main() -> None:
    """Run the named recipes (all by default), and write the figures and the page."""
    saved: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"results": {}}
    for name in sys.argv[1:] or shipped_recipes():
        figures = run(name)
        saved["results"][name.partition("/")[2] or name] = {
            key: figures[key] for key in ("rows", "metrics", "baselines", "variants", "training", "seconds", "gate")
        }
        scores = {metric: round(figures["metrics"][metric]["value"], 4) for metric in leading(figures)}
        print(name, scores, f"{figures['seconds']:.0f} s", flush=True)
        facts = describe()
        saved["machine"] = {key: facts[key] for key in ("cpu", "threads", "versions")}
        RESULTS.write_text(json.dumps(saved, indent=1) + "\n")
    if PAGE.exists():
        write_page(saved)


if __name__ == "__main__":
    main()
