"""The sweep: trials of one recipe, judged on validation figures alone, shared by as many processes as like to join."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from bedplate.core.console import Advance, Console, human_seconds
from bedplate.core.errors import GateError, RunError
from bedplate.core.files import explain_write_errors, read_json, write_json, write_text
from bedplate.core.hashing import fingerprint
from bedplate.evaluation.svg import number
from bedplate.experiments.sampling import REASON, make_pruner, make_sampler
from bedplate.experiments.search_space import (
    overrides,
    short_names,
)
from bedplate.experiments.storage import (
    POINT,
    close_storage,
    counted,
    forget,
    give_up,
    is_dead,
    open_storage,
    open_study,
    queue,
    take_over,
)
from bedplate.experiments.sweep_choices import shared_choices, with_choices
from bedplate.experiments.sweep_plan import Settled, announce, settle, value_text
from bedplate.experiments.sweep_report import write_report
from bedplate.experiments.sweep_result import direction, order, pareto, result, rows
from bedplate.experiments.trial import FIGURES, Bench, Ended, run_trial
from bedplate.pipeline import Outcome
from bedplate.pipeline import run as run_recipe
from bedplate.recipe.load import save
from bedplate.recipe.schema import Recipe
from bedplate.stages.data import load_data
from bedplate.stages.folder import Mode, RunFolder
from bedplate.stages.resolve import portable, resolve
from bedplate.stages.work import Work

MARKER, BASE, BEST, REPORT = "sweep.json", "recipe.yaml", "best.yaml", "sweep.html"


@dataclass(frozen=True)
class Sweep:
    """What a sweep ends with: its folder, the figures that `--json` prints, and the best recipe's run if asked for."""

    path: Path
    figures: dict[str, Any]
    outcome: Outcome | None = None


def sweep(
    recipe: str | Path,
    out: str | Path | None = None,
    *,
    overrides: Sequence[str] = (),
    space: Sequence[str] = (),
    storage: str | None = None,
    mode: Mode = "new",
    run: bool = False,
    console: Console | None = None,
) -> Sweep:
    """Search a recipe's settings. The test rows are not looked at; with `run` the best recipe is judged on them, once.

    Args:
        recipe: a YAML file, or the name of a shipped recipe; its `search` section says what to do.
        out: the sweep's folder; left out: `runs/<recipe name>-sweep`.
        overrides: `key.path=value` texts, such as `search.trials=50`.
        space: `KEY=LOW..HIGH[:log]` or `KEY=[choice, choice]` texts, which replace or add to the recipe's dimensions.
        storage: see `open_storage`; left out: `study.db` in the folder.
        mode: "new" refuses a folder that holds a sweep; "resume" continues it, or joins those that work on it;
            "fresh" starts it again.
        run: carry the best recipe through its whole life in the folder `best`.
        console: where people read along; left out: silent.

    Raises:
        RecipeError: a problem of the recipe, or of the space.
        RunError: the folder or the study belongs to something else.
        GateError: no trial came to its end.
        Interrupted: by Ctrl-C; `mode="resume"` continues.
    """
    started = time.monotonic()
    console = console or Console(quiet=True)
    settled = settle(str(recipe), overrides, space)
    path = _check_folder(Path(out) if out else Path("runs") / f"{settled.resolved.recipe.name}-sweep", mode, settled)
    announce(settled, console)
    dataset = load_data(settled.resolved, console)
    opened, shown = _open_folder(path, settled, storage)
    try:
        study = _open_study(opened, path, settled, mode, [dataset.fingerprint, dataset.split_fingerprint])
        work = Work(settled.resolved, dataset, RunFolder(path / "trials"), console)
        write_text(path / BASE, with_choices(settled.base, shared_choices(study, work, settled.space, console)))
        prune = settled.objectives[0] if settled.pruner != "none" else None
        bench = Bench(path / BASE, work, settled.space, settled.objectives, path / "trials", prune)
        console.stage("sweep", f"{settled.total} trials, {settled.spec.sampler}, kept in {shown}")
        _work(study, bench, settled, console)
        facts = _facts(path, settled, shown, time.monotonic() - started)
        found = result(study, settled.space, settled.objectives, seed=settled.resolved.recipe.seed, facts=facts)
    finally:
        close_storage(opened)
    with suppress(OSError):
        (path / "trials").rmdir()
    if found["best"] is None:
        raise GateError("no trial came to its end", where=str(path), received=_reasons(found["trials"]))
    before = (path / BEST).read_bytes() if (path / BEST).exists() else b""
    _write_recipes(path, settled, found)
    write_report(path, found)
    write_json(path / MARKER, found)
    _conclude(found, console)
    if not run:
        return Sweep(path, found)
    again: Mode = "resume" if before == (path / BEST).read_bytes() else "fresh"
    outcome = run_recipe(path / BEST, path / "best", mode=again, console=console)
    found["run"] = outcome.figures
    write_json(path / MARKER, found)
    return Sweep(path, found, outcome)


def _facts(path: Path, settled: Settled, shown: str, seconds: float) -> dict[str, Any]:
    return {
        "format": 1,
        "state": "done",
        "sweep": str(path),
        "recipe": settled.resolved.recipe.name,
        "study": settled.name,
        "storage": shown,
        "sampler": settled.spec.sampler,
        "pruner": settled.pruner,
        "suggested": settled.space.suggested,
        "seconds": round(seconds, 3),
        "best_recipe": str(path / BEST),
        "report": str(path / REPORT),
    }


def _check_folder(path: Path, mode: Mode, settled: Settled) -> Path:
    """Return the absolute path of a sweep's folder, if the sweep may begin or continue there. Writes nothing."""
    with explain_write_errors(path):
        path = path.expanduser().resolve()
        if path.exists() and not path.is_dir():
            raise RunError("not a folder", where=str(path), hint="choose another with --out")
        if not path.is_dir() or not any(path.iterdir()):
            return path
    if not (path / MARKER).is_file():
        raise RunError("the folder holds something that is no sweep", where=str(path), hint="choose another with --out")
    if mode == "new":
        raise RunError(
            "the folder holds a sweep already",
            where=str(path),
            hint="--resume continues or joins it, --fresh starts it again, --out DIR puts this one elsewhere",
        )
    study = read_json(path / MARKER).get("study")
    if mode == "resume" and study != settled.name:
        raise RunError(
            "the sweep there is of another recipe, space or objective",
            where=str(path),
            expected=str(study),
            received=settled.name,
            hint="start again with --fresh, or put this sweep elsewhere with --out",
        )
    return path


def _open_folder(path: Path, settled: Settled, storage: str | None) -> tuple[BaseStorage, str]:
    """Make the folder a sweep's and open the storage; one that lies elsewhere first, so that nothing is left if not."""
    found = open_storage(storage, path) if storage is not None else None
    with explain_write_errors(path):
        path.mkdir(parents=True, exist_ok=True)
    write_json(path / MARKER, {"format": 1, "state": "begun", "study": settled.name})
    return found or open_storage(None, path)


def _open_study(storage: BaseStorage, path: Path, settled: Settled, mode: Mode, data: list[str]) -> optuna.Study:
    """Create or join the study."""
    if mode == "fresh":
        _refuse_if_busy(storage, settled, path)
        forget(storage, settled.name)
        shutil.rmtree(path / "trials", ignore_errors=True)
    directions = [direction(name) for name in settled.objectives]
    facts = {"data": fingerprint(data)}
    study = open_study(storage, settled.name, directions, facts, lambda one: _queue_known(one, settled))
    sampler = make_sampler(settled.spec, settled.resolved.recipe.seed)
    sampler.watch(study)
    study.sampler = sampler
    study.pruner = make_pruner(settled.pruner, settled.total, settled.epochs)
    return study


def _refuse_if_busy(storage: BaseStorage, settled: Settled, path: Path) -> None:
    with suppress(KeyError):
        study = optuna.load_study(study_name=settled.name, storage=storage)
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        if any(not is_dead(trial, time.time()) for trial in running):
            raise RunError("another process is working on this sweep", where=str(path), hint="--resume joins it")


def _queue_known(study: optuna.Study, settled: Settled) -> None:
    """Queue the recipe's own point and a grid's points, unless they are there."""
    there = [trial.user_attrs.get(POINT) for trial in counted(study)]
    own = settled.space.encode(settled.space.own)
    if own not in there:
        queue(study, own, own=True)
    if settled.spec.sampler == "grid":
        for point in map(settled.space.encode, settled.space.grid()):
            if point not in there:
                queue(study, point)


def _work(study: optuna.Study, bench: Bench, settled: Settled, console: Console) -> None:
    """Take trials until all are done, by whichever process; then those of dead processes are done too."""
    before = {row["trial"] for row in rows(study, settled.space) if row["state"] in ("complete", "pruned", "failed")}
    if before:
        console.detail(f"{len(before)} trials done before")
    waited = False
    with console.progress("trials", 1000 * settled.total) as advance:
        while True:
            lost = take_over(study)
            if lost:
                console.detail(f"{len(lost)} trial(s) that were cut off are tried again")
            trials = counted(study)
            states = [trial.state for trial in trials]
            if TrialState.WAITING not in states and len(trials) >= settled.total:
                if TrialState.RUNNING not in states:
                    return
                if not waited:
                    console.detail(f"waiting for {states.count(TrialState.RUNNING)} trial(s) of other processes")
                waited = True
                time.sleep(0.5)
                continue
            trial = study.ask()
            position = sum(one.number < trial.number for one in counted(study))
            if position >= settled.total and POINT not in trial.user_attrs:
                study.tell(
                    trial, state=TrialState.FAIL
                )  # another process was faster; without a reason it isn't counted
                continue
            _one(study, bench, settled, trial, position, advance, console)


def _one(
    study: optuna.Study,
    bench: Bench,
    settled: Settled,
    trial: optuna.Trial,
    position: int,
    advance: Advance,
    console: Console,
) -> None:
    """Run one trial and tell the study how it ended."""

    def told(epoch: int, epochs: int, figures: dict[str, float]) -> None:
        advance(int(1000 * (position + epoch / epochs)), f"trial {position}, epoch {epoch}/{epochs}")

    try:
        ended = run_trial(bench, trial, told)
        _tell(study, trial, ended, settled)
    except UpdateFinishedTrialError:
        console.detail(f"trial {position} was taken over by another process")
        return
    except BaseException:
        give_up(study, study.trials[trial.number])
        raise
    _line(study, settled, position, console)


def _tell(study: optuna.Study, trial: optuna.Trial, ended: Ended, settled: Settled) -> None:
    trial.set_user_attr(FIGURES, ended.figures)
    if ended.reason is not None:
        trial.set_user_attr(REASON, ended.reason)
    if ended.values is not None:
        study.tell(trial, ended.values)
    elif len(settled.objectives) == 1:
        # Diverged ones too: a sampler takes a stopped trial for a bad place, and learns nothing from a failed one.
        study.tell(trial, state=TrialState.PRUNED)
    else:
        study.tell(trial, state=TrialState.FAIL)


def _line(study: optuna.Study, settled: Settled, position: int, console: Console) -> None:
    """Say how a trial ended, on one line."""
    table = rows(study, settled.space)
    row = table[position]
    finished = [one for one in table if one["state"] == "complete"]
    if row["state"] == "complete":
        pairs = zip(settled.objectives, row["values"], strict=True)
        words = "  ".join(f"{name.replace('_', ' ')} {number(value)}" for name, value in pairs)
        leading = pareto(finished, settled.objectives) if len(settled.objectives) > 1 else [_best(finished, settled)]
        mark = ("  ← front" if len(settled.objectives) > 1 else "  ← best") if row in leading else ""
    else:
        words, mark = row["reason"] or f"stopped after epoch {row['epochs']}", ""
    what = (
        "the recipe as it is"
        if row["own"]
        else "  ".join(f"{short}={value_text(row['params'][key])}" for key, short in short_names(row["params"]).items())
    )
    wide = len(str(settled.total - 1))
    console.detail(f"trial {position:>{wide}}  {words}  {human_seconds(row['seconds'] or 0)}  {what}{mark}")


def _best(finished: list[dict[str, Any]], settled: Settled) -> dict[str, Any]:
    return min(finished, key=lambda row: order(row, settled.objectives))


def _reasons(trials: list[dict[str, Any]]) -> str:
    return "; ".join(sorted({row["reason"] for row in trials if row["reason"]})[:3]) or "all were stopped early"


def _write_recipes(path: Path, settled: Settled, found: dict[str, Any]) -> None:
    """Write the best recipe, and each of the Pareto front, as full recipes that `bedplate run` takes."""
    save(_recipe_of(path, settled, found["best"], found["trials"]), path / BEST)
    for row in found["front"] or ():
        save(_recipe_of(path, settled, row, found["trials"]), path / f"front-{row['trial']}.yaml")


def _recipe_of(path: Path, settled: Settled, row: dict[str, Any], trials: list[dict[str, Any]]) -> Recipe:
    changes = {} if trials[row["trial"]]["own"] else row["params"]
    return portable(resolve(str(path / BASE), overrides(changes)))


def _conclude(found: dict[str, Any], console: Console) -> None:
    objective = found["objectives"][0]["name"]
    best, own = found["best"], found["own"]
    words = f"{objective.replace('_', ' ')} {number(best['values'][0])}"
    if own:
        words += f", the recipe as it was {number(own['values'][0])}"
    console.stage("best", f"trial {best['trial']}: {words}")
    for key, value in best["params"].items():
        console.detail(f"{key}: {value_text(value)}")
    console.detail(f"recipe  {found['best_recipe']}")
    console.detail(f"report  {found['report']}")
