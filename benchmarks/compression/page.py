"""The page of figures, and the words that its tables share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.serving.environments import ROOT
from benchmarks.serving.paced import write_section

PAGE = ROOT / "docs" / "compression-results.md"


def write_page(name: str, text: str) -> None:
    """Write a section of the page, between its two marks."""
    write_section(PAGE, name, text)


def machine_line(results: Mapping[str, Any]) -> str:
    """Return what the figures depend on, in one line."""
    machine = results["machine"]
    versions = ", ".join(
        f"{name} {machine['versions'][name]}"
        for name in ("python", "torch", "onnxruntime", "numpy")
        if machine["versions"].get(name)
    )
    return (
        f"{machine['cpu']}, {machine['threads']} threads (one for each graph), {versions}; {results['date']}. "
        f"Each graph was timed in turns with the one it is compared to, {results['rounds']} rounds of one row, three "
        "times; the middle ratio is told. Other work ran beside, so the ratios count, not the milliseconds."
    )


def thousands(count: int | None) -> str:
    """Return a count in words short enough for a table."""
    if count is None:
        return "–"
    return f"{count / 1e6:.2f} M" if count >= 1e6 else f"{count / 1e3:.1f} k"
