"""Run an experiment: every cell in a folder of its own, then the comparison, the report and the ensemble.

    runs/NAME/
      experiment.json     this folder is an experiment; at the end the figures that --json prints
      choices.json        the measured choices that all runs share
      cells/ARM/SEED/     a run's folder each (see `bedplate.stages`), with validation.json and cell.json
      experiment.html     the report; table.csv, table.md: its table
      ensemble/           the ensemble's bundle and report, where the file asks for one

A killed experiment continues where it stopped: cells write their manifest last, and a done one isn't repeated.
"""

from __future__ import annotations

import contextlib
import shutil
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bedplate.core.console import Console, human_seconds
from bedplate.core.errors import BedplateError, GateError, InputError, Interrupted, RunError, listing
from bedplate.core.files import explain_write_errors, read_json, write_json, write_text
from bedplate.data.dataset import Dataset
from bedplate.experiments.analysis import analyse
from bedplate.experiments.ensemble import check_members, make_ensemble
from bedplate.experiments.matrix import Cell, Matrix, build_matrix
from bedplate.experiments.report import summary_lines, write_experiment_report
from bedplate.experiments.shared_choices import FILE as CHOICES
from bedplate.experiments.shared_choices import keep_shared, use_shared
from bedplate.experiments.spec import read_experiment
from bedplate.models import predictor
from bedplate.stages.compress import compress_stage
from bedplate.stages.data import load_data
from bedplate.stages.evaluate import evaluate_stage, judge, metrics_json
from bedplate.stages.evaluate_texts import writer
from bedplate.stages.folder import LOCK, Mode, hold, open_run, remove_begun
from bedplate.stages.pack import Packed, pack_stage
from bedplate.stages.result import result_json
from bedplate.stages.train import history, train_stage
from bedplate.stages.work import Work

MARKER, CELL, VALIDATION = "experiment.json", "cell.json", "validation.json"
_WRITTEN = ("experiment.html", "table.csv", "table.md", CHOICES)


@dataclass(frozen=True)
class ExperimentOutcome:
    """What an experiment ends with: its folder, the figures that `--json` prints, and the cells that failed."""

    path: Path
    figures: dict[str, Any]
    failures: dict[str, str]

    def raise_for_failures(self) -> ExperimentOutcome:
        """Raise a GateError if a cell failed; else return self."""
        if self.failures:
            raise GateError("runs of the experiment failed", where=str(self.path), received=listing(self.failures))
        return self


class _NoDataError(InputError):
    """No cell can run: their common data can't be read."""


class _Bars(Console):
    """A console that shows progress bars, and no lines: what a single cell may show."""

    def say(self, text: str = "") -> None:
        """Write nothing."""


def experiment(
    file: str | Path,
    out: str | Path | None = None,
    *,
    overrides: Sequence[str] = (),
    mode: Mode = "new",
    console: Console | None = None,
) -> ExperimentOutcome:
    """Run every cell of an experiment and say which differences between its arms are real.

    Args:
        file: the experiment's YAML file.
        out: its folder; left out: `runs/<experiment's name>`.
        overrides: `key.path=value` texts, written into every arm's recipe.
        mode: "new" refuses a folder that holds an experiment; "resume" continues it, repeating nothing that is done;
            "fresh" starts it again.
        console: where people read along; left out: silent.

    Raises:
        RecipeError: problems of the file or of any arm's recipe, all at once, before anything is trained.
    """
    console = console or Console(quiet=True)
    file = Path(file).expanduser()
    spec = read_experiment(file)
    matrix = build_matrix(spec, file.resolve().parent, overrides, str(file))
    path = Path(out) if out else Path("runs") / spec.name
    started = time.monotonic()
    with _open(path, mode, matrix) as path:
        if spec.ensemble:
            check_members(matrix, console)
        console.stage(
            "cells",
            f"{len(matrix.cells)}: {_counted(len(matrix.arms), 'arm')} × {_counted(len(spec.seed_list), 'seed')}"
            + (f" × {spec.folds} folds" if spec.folds else ""),
        )
        failures = _run_cells(matrix, path, console)
        found = {cell: facts for cell in matrix.cells if (facts := done_cell(path, cell)) is not None}
        for cell, facts in found.items():
            if facts["gate"]:
                failures[cell.label] = f"the gate says no: {'; '.join(facts['gate'])}"
        figures: dict[str, Any] = {
            "experiment": str(path), "name": spec.name, **analyse(matrix, found, path), "failures": failures,
        }  # fmt: skip
        if spec.ensemble and found:
            try:
                figures["ensemble"] = make_ensemble(matrix, list(found), path, console)
                if refused := figures["ensemble"]["gate"]:
                    failures["ensemble"] = f"the gate says no: {'; '.join(refused)}"
            except Interrupted:
                raise
            except BedplateError as error:
                failures["ensemble"] = error.message
                console.detail(f"the ensemble failed: {error.message}")
        figures["seconds"] = round(time.monotonic() - started, 3)
        figures["report"] = str(path / "experiment.html")
        write_experiment_report(figures, path)
        write_json(path / MARKER, {"format": 1, "state": "failed" if failures else "done", **figures})
    console.stage("result")
    for line in summary_lines(figures):
        console.detail(line)
    console.detail(f"report {figures['report']}")
    return ExperimentOutcome(path, figures, failures)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


@contextlib.contextmanager
def _open(path: Path, mode: Mode, matrix: Matrix) -> Iterator[Path]:
    """Open the experiment's folder, hold its lock, and check that what is done there belongs to `matrix`."""
    with explain_write_errors(path):
        path = path.expanduser().resolve()
        ours = (path / MARKER).is_file()
        if path.exists() and not path.is_dir():
            raise RunError("not a folder", where=str(path), hint="choose another with --out")
        if path.is_dir() and not ours and any(entry.name != LOCK for entry in path.iterdir()):
            raise RunError(
                "the folder holds something that is no experiment", where=str(path), hint="choose another with --out"
            )
        if ours and mode == "new":
            raise RunError(
                "the folder holds an experiment already", where=str(path),
                hint="--resume continues it, --fresh starts it again, --out DIR puts this one elsewhere",
            )  # fmt: skip
    with hold(path, "experiment") as made:
        if mode == "fresh":
            with explain_write_errors(path):
                for name in ("cells", "ensemble"):
                    shutil.rmtree(path / name, ignore_errors=True)
                for name in _WRITTEN:
                    (path / name).unlink(missing_ok=True)
        changed = [cell.label for cell in matrix.cells if _other(path, cell)]
        if changed:
            raise RunError(
                "these runs were made from another recipe",
                where=str(path),
                received=listing(changed, 6),
                hint="start again with --fresh, or put this experiment elsewhere with --out",
            )
        write_json(path / MARKER, {"format": 1, "state": "begun", "name": matrix.spec.name})
        try:
            yield path
        except BaseException as error:
            left = (path / "cells").is_dir()
            if not left and not ours:
                remove_begun(path, MARKER, made)
            if isinstance(error, KeyboardInterrupt):
                raise Interrupted("stopped by the user", hint="continue with --resume" if left else None) from error
            raise


def _manifest(path: Path, cell: Cell) -> dict[str, Any] | None:
    file = path / cell.folder / CELL
    if not file.is_file():
        return None
    found: dict[str, Any] = read_json(file)
    return found


def _other(path: Path, cell: Cell) -> bool:
    """Whether the cell's folder holds a run of another recipe that came further than to fail."""
    found = _manifest(path, cell)
    return found is not None and found["state"] != "failed" and found["fingerprint"] != cell.fingerprint


def done_cell(path: Path, cell: Cell) -> dict[str, Any] | None:
    """Return what a finished cell wrote; None where it isn't finished."""
    found = _manifest(path, cell)
    return found if found and found["state"] == "done" and found["fingerprint"] == cell.fingerprint else None


def _run_cells(matrix: Matrix, path: Path, console: Console) -> dict[str, str]:
    """Run what isn't done yet; return why each failed cell failed, by its label."""
    failures: dict[str, str] = {}
    held: tuple[str, Dataset] | None = None
    waiting = [cell for cell in matrix.cells if done_cell(path, cell) is None]
    if before := len(matrix.cells) - len(waiting):
        console.detail(f"{before} done before")
    width = max(len(cell.label) for cell in matrix.cells)
    bars, began = _Bars(console.stream, quiet=console.quiet), time.monotonic()
    for place, cell in enumerate(waiting, 1):
        count = f"{before + place:>{len(str(len(matrix.cells)))}}/{len(matrix.cells)}"
        try:
            if held is None or held[0] != cell.data_key:
                held = None  # before the next is read: only one dataset is held at a time
                held = cell.data_key, _data(matrix, cell, console if place == 1 else bars)
            facts = _run_cell(cell, held[1], path, bars, matrix.spec.until)
        except (Interrupted, _NoDataError):
            raise
        except Exception as error:  # noqa: BLE001 - one failed cell doesn't lose the others; it is named, exit code 1
            failures[cell.label] = error.message if isinstance(error, BedplateError) else repr(error)
            _note_failure(path, cell, failures[cell.label])
            console.detail(f"{count}  {cell.label:<{width}}  FAILED: {failures[cell.label]}")
            continue
        left = (time.monotonic() - began) / place * (len(waiting) - place)
        figures = "  ".join(
            f"{split} {facts['metrics'][split][matrix.metric]['value']:.4f}" for split in ("validation", "test")
            if matrix.metric in facts["metrics"][split]
        )  # fmt: skip
        more = f", about {human_seconds(left)} left" if place < len(waiting) else ""
        console.detail(
            f"{count}  {cell.label:<{width}}  {matrix.metric} {figures}  {human_seconds(facts['seconds'])}{more}"
        )
    return failures


def _data(matrix: Matrix, cell: Cell, console: Console) -> Dataset:
    """Return a cell's data; where all cells read the same and it can't be read, nothing is left to do."""
    try:
        return load_data(cell.resolved, console)
    except InputError as error:
        if len({one.data_key for one in matrix.cells}) > 1:
            raise
        raise _NoDataError(
            error.what, where=error.where, expected=error.expected, received=error.received, hint=error.hint
        ) from error


def _note_failure(path: Path, cell: Cell, why: str) -> None:
    folder = path / cell.folder
    write_text(folder / "error.txt", traceback.format_exc())
    write_json(folder / CELL, {"format": 1, "state": "failed", "fingerprint": cell.fingerprint, "error": why})


def _run_cell(cell: Cell, dataset: Dataset, path: Path, console: Console, until: str) -> dict[str, Any]:
    """Train and evaluate one cell (and pack it, if the experiment asks), and write its manifest last."""
    started = time.monotonic()
    place = path / cell.folder
    failed = _manifest(path, cell)
    begun = failed is not None and failed["fingerprint"] == cell.fingerprint
    if not (place / "run.json").is_file():  # what a run left that ended before its first stage
        shutil.rmtree(place, ignore_errors=True)
    with open_run(place, "resume" if begun else "fresh") as folder:
        (place / "error.txt").unlink(missing_ok=True)
        write_json(place / CELL, {"format": 1, "state": "begun", "fingerprint": cell.fingerprint})
        work = Work(cell.resolved, dataset, folder, console)
        use_shared(path, cell)
        network = train_stage(work, resume=True)
        keep_shared(path, cell)
        test = evaluate_stage(work, network)
        validation = judge(
            work, predictor(network), work.features(dataset.validation), dataset.validation, writer(work, network)
        )
        write_json(place / VALIDATION, validation.to_json())
        compressed, packed = None, Packed(test, None, [])
        if until == "pack":
            compressed = compress_stage(work, network)
            packed = pack_stage(work, compressed)
        figures = result_json(work, compressed, packed, time.monotonic() - started)
        write_json(place / "run.json", {"format": 1, "state": "done", **figures})
        train = folder.manifest("train") or {}
        facts = {
            "format": 1, "state": "done", "fingerprint": cell.fingerprint, "arm": cell.arm, "seed": cell.seed,
            "fold": cell.fold, "rows": figures["rows"], "data": dataset.fingerprint,
            "split": dataset.split_fingerprint,
            "metrics": {"validation": metrics_json(validation), "test": metrics_json(test)},
            "parameters": train["parameters"], "epochs": train["epochs"], "weights_sha256": train["weights_sha256"],
            "bundle": figures["bundle"], "gate": packed.failures, "history": history(work),
            "seconds": round(time.monotonic() - started, 3),
        }  # fmt: skip
        write_json(place / CELL, facts)
    return facts


__all__ = ["CELL", "VALIDATION", "ExperimentOutcome", "done_cell", "experiment"]
