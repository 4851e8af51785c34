"""The whole life, in order. This page tells the story; the rooms do the work.

recipe → data → train → evaluate → compress → pack → bundle (→ a smaller one, where the recipe has a budget)
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bedplate.core.console import Console
from bedplate.core.errors import GateError, InfeasibleError
from bedplate.core.files import write_json
from bedplate.stages.compress import compress_stage, load_compressed
from bedplate.stages.compress_budget import budget_stage
from bedplate.stages.compress_bundle import infeasible
from bedplate.stages.data import load_data
from bedplate.stages.evaluate import evaluate_stage
from bedplate.stages.folder import Mode, check_free, open_run
from bedplate.stages.pack import Packed, pack_stage
from bedplate.stages.resolve import resolve
from bedplate.stages.result import result_json
from bedplate.stages.train import load_network, train_stage
from bedplate.stages.work import Work

Stage = Literal["train", "evaluate", "compress", "pack"]


@dataclass(frozen=True)
class Outcome:
    """What a run or a stage ends with: its folder, and the same figures that `--json` prints."""

    path: Path
    figures: dict[str, Any]
    passed: bool = True

    def raise_for_gate(self) -> Outcome:
        """Raise a GateError if the gate said no, an InfeasibleError if the budget can't be met; else return self."""
        if not self.passed:
            raise GateError(
                "the gate says no", where=str(self.path), received="; ".join(self.figures["gate"]["failures"])
            )
        if (error := self.over_budget) is not None:
            raise error
        return self

    @property
    def over_budget(self) -> InfeasibleError | None:
        """What is in the way where the recipe's budget can't be met."""
        found = self.figures.get("compression")
        return infeasible(found) if found else None


@contextlib.contextmanager
def _begin(
    recipe: str | Path,
    out: str | Path | None,
    overrides: Sequence[str],
    mode: Mode,
    console: Console | None,
    started: float,
) -> Iterator[Work]:
    """Check the recipe, then the folder, then read the data; only then open the run's folder."""
    console = console or Console(quiet=True)
    resolved = resolve(str(recipe), overrides)
    path = check_free(Path(out) if out else Path("runs") / resolved.recipe.name, mode)
    dataset = load_data(resolved, console)
    with open_run(path, mode) as folder:
        yield Work(resolved, dataset, folder, console, started)


def run(
    recipe: str | Path,
    out: str | Path | None = None,
    *,
    overrides: Sequence[str] = (),
    mode: Mode = "new",
    console: Console | None = None,
    started: float | None = None,
) -> Outcome:
    """Carry a recipe through its whole life.

    Args:
        recipe: a YAML file, or the name of a shipped recipe.
        out: the run's folder; left out: `runs/<recipe name>`.
        overrides: `key.path=value` texts.
        mode: "new" refuses a folder that holds a run; "resume" continues it; "fresh" starts it again.
        console: where people read along; left out: silent.
        started: the clock (`time.monotonic`) when the command began; left out: now.
    """
    started = time.monotonic() if started is None else started
    with _begin(recipe, out, overrides, mode, console, started) as work:
        network = train_stage(work, resume=mode == "resume")
        evaluate_stage(work, network)
        compressed = compress_stage(work, network)
        packed = pack_stage(work, compressed)
        smaller = budget_stage(work, packed.bundle.id) if packed.bundle else None
        figures = result_json(work, compressed, packed, time.monotonic() - started) | {"compression": smaller}
        write_json(work.folder.path / "run.json", {"format": 1, "state": "done", **figures})
    return Outcome(work.folder.path, figures, not packed.failures)


def run_stage(
    stage: Stage,
    recipe: str | Path,
    out: str | Path | None = None,
    *,
    overrides: Sequence[str] = (),
    mode: Mode = "resume",
    console: Console | None = None,
    started: float | None = None,
) -> Outcome:
    """Run one stage alone; the stages before it must be done in the same folder."""
    started = time.monotonic() if started is None else started
    with _begin(recipe, out, overrides, mode, console, started) as work:
        compressed, packed = None, Packed(None, None, [])
        if stage == "train":
            train_stage(work, resume=mode == "resume")
        elif stage == "evaluate":
            packed = Packed(evaluate_stage(work, load_network(work)), None, [])
        elif stage == "compress":
            compressed = compress_stage(work, load_network(work))
        else:
            load_network(work)
            for before in ("evaluate", "compress"):
                work.folder.need(before, work.fingerprint(before))
            compressed = load_compressed(work)
            packed = pack_stage(work, compressed)
        figures = result_json(work, compressed, packed, time.monotonic() - started)
    return Outcome(work.folder.path, figures, not packed.failures)
