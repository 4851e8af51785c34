"""Real small sweeps: what they find, that they are reproducible, and that they survive being killed and shared."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.experiments.sweeps import TINY, recipe, swept

import bedplate as bp
from bedplate.core.errors import InputError, RecipeError, RunError
from bedplate.experiments.sweep_plan import settle
from bedplate.recipe.load import load
from bedplate.stages.init import init
from bedplate.stages.resolve import LANGUAGE_METHODS, resolve
from bedplate.stages.work import Work


def figures_of(trials: list[dict[str, Any]]) -> list[Any]:
    """Return what must be equal in equal sweeps: settings, values and curves, but no times."""
    return [(row["trial"], row["own"], row["state"], row["params"], row["values"], row["curve"]) for row in trials]


def command(folder: Path, *words: str, **more: Any) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "bedplate", "sweep", str(folder / "tiny.yaml"), *words]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A finished sweep that other tests compare with."""
    folder = tmp_path_factory.mktemp("done")
    return folder, swept(folder)


def test_the_recipe_is_tried_first_and_the_best_is_not_behind_it(done: tuple[Path, dict[str, Any]]) -> None:
    folder, found = done
    assert [row["trial"] for row in found["trials"]] == list(range(6))
    assert [row["own"] for row in found["trials"]] == [True] + [False] * 5
    assert found["own"]["params"] == {"training.optimizer.lr": 2e-3, "model.dropout": 0.1, "model.hidden": [8]}
    assert found["best"]["values"][0] <= found["own"]["values"][0]
    assert found["best"]["values"][0] == min(row["values"][0] for row in found["trials"] if row["values"])
    assert json.loads((folder / "sweep" / "sweep.json").read_text()) == found
    assert not (folder / "sweep" / "trials").exists()


def test_the_same_sweep_finds_the_same(done: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    assert figures_of(swept(tmp_path)["trials"]) == figures_of(done[1]["trials"])
    other = swept(tmp_path, "seed=4", "search.trials=2", out="other")
    assert other["trials"][1]["params"] != done[1]["trials"][1]["params"]


def test_the_best_recipe_runs_as_it_is(done: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    _, found = done
    best = load(Path(found["best_recipe"]))
    assert best.search is None
    assert best.model is not None
    assert best.model.arguments["hidden"] == found["best"]["params"]["model.hidden"]
    assert best.training.optimizer.arguments["lr"] == found["best"]["params"]["training.optimizer.lr"]
    outcome = bp.run_stage("train", found["best_recipe"], tmp_path / "run", mode="new")
    history = json.loads((outcome.path / "train" / "history.json").read_text())
    kept = history[outcome.figures["training"]["best_epoch"] - 1]
    assert [kept["validation_loss"]] == found["best"]["values"]


def test_a_sweep_is_continued_with_more_trials(done: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    first = swept(tmp_path, "search.trials=3")
    with pytest.raises(RunError, match="holds a sweep already"):
        swept(tmp_path)
    more = swept(tmp_path, mode="resume")
    assert more["trials"][:3] == first["trials"]
    assert figures_of(more["trials"]) == figures_of(done[1]["trials"])
    with pytest.raises(RunError, match="of another recipe, space or objective"):
        swept(tmp_path, "training.epochs=5", mode="resume")
    again = swept(tmp_path, "search.trials=2", mode="fresh")
    assert len(again["trials"]) == 2


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "mine.txt").write_text("mine")
    for mode in ("new", "resume", "fresh"):
        with pytest.raises(RunError, match="no sweep"):
            swept(tmp_path, mode=mode)
    assert [path.name for path in (tmp_path / "sweep").iterdir()] == ["mine.txt"]


def test_trials_that_fall_behind_are_stopped(tmp_path: Path) -> None:
    found = swept(
        tmp_path, "search.trials=14", "training.epochs=9", "search.sampler=random",
        space=["training.optimizer.lr=[5.0e-2, 1.0e-7]"],
    )  # fmt: skip
    stopped = [row for row in found["trials"] if row["state"] == "pruned"]
    assert stopped
    assert found["counts"]["pruned"] == len(stopped)
    for row in stopped:
        assert 3 <= len(row["curve"]) < 9
        assert min(row["curve"]) > found["best"]["values"][0]
    whole = swept(tmp_path, "search.trials=5", "search.pruner=none", out="whole")
    assert whole["counts"]["pruned"] == 0


def test_a_grid_visits_every_point_once(tmp_path: Path) -> None:
    text = TINY.replace("model.dropout: 0..0.5", "model.dropout: [0.0, 0.1]").replace(
        "log: true}", "log: true, points: 2}"
    )
    path = recipe(tmp_path, text)
    found = bp.sweep(path, tmp_path / "grid", overrides=["search.sampler=grid", "training.epochs=1"]).figures
    points = {json.dumps(row["params"], sort_keys=True) for row in found["trials"]}
    assert len(points) == len(found["trials"]) == 1 + 2 * 2 * 2


def test_several_objectives_give_a_front(tmp_path: Path) -> None:
    wanted = 'search.objectives=["validation_accuracy", "parameters"]'
    found = swept(tmp_path, wanted, "search.sampler=nsga2", "search.trials=9")
    assert found["pruner"] == "none"
    values = [row["values"] for row in found["front"]]
    assert values == sorted(values, key=lambda pair: -pair[0])
    assert all(a[1] > b[1] for a, b in itertools.pairwise(values))
    for row in found["front"]:
        assert (tmp_path / "sweep" / f"front-{row['trial']}.yaml").exists()


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["search.objectives=[validation_rmse]"], "has no validation_rmse"),
        (["search.objectives=[seconds, seconds]"], "the same objective twice"),
        (["search.objectives=[seconds, parameters]", "search.pruner=median"], "can't be stopped early"),
        (["search.trials=0"], "--set search.trials=0: wrong value"),
    ],
)
def test_what_does_not_go_together_is_said_before_anything_is_read(
    tmp_path: Path, overrides: list[str], said: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        swept(tmp_path, *overrides)
    assert said in caught.value.message
    assert not (tmp_path / "sweep").exists()


def test_the_search_section_touches_no_fingerprint_of_a_run(tmp_path: Path) -> None:
    from bedplate.core.console import Console
    from bedplate.stages.data import load_data
    from bedplate.stages.folder import RunFolder

    path, quiet = str(recipe(tmp_path)), Console(quiet=True)
    found = []
    for changes in ([], ["search=null"], ["training.epochs=9"]):
        resolved = resolve(path, changes)
        found.append(Work(resolved, load_data(resolved, quiet), RunFolder(tmp_path), quiet).fingerprint("train"))
    assert found[0] == found[1] != found[2]


def test_a_recipe_without_a_space_gets_one(tmp_path: Path) -> None:
    settled = settle("wine", ["search.trials=3"])
    assert settled.space.suggested
    assert settled.total == 3


@pytest.mark.parametrize("task", ["language-modelling", "text-to-text"])
def test_a_model_that_writes_text_is_swept_as_init_wrote_it(tmp_path: Path, task: str) -> None:
    """The task has compression methods of its own, which neither the recipe nor its trials name."""
    if task == "language-modelling":
        data, small = tmp_path / "sums.txt", ["model.size=16", "model.layers=1", "model.heads=2", "data.text.length=32"]
        data.write_text("".join(f"{k} and {k + 1} make {2 * k + 1}.\n" for k in range(200)))
    else:
        data, small = tmp_path / "sums.csv", ["model.size=16", "model.hidden=16", "model.heads=2"]
        data.write_text("question,answer\n" + "".join(f"{k} and {k + 1},{2 * k + 1}\n" for k in range(100)))
    target = None if task == "language-modelling" else "answer"
    written = init(str(data), output=str(tmp_path / "sums.yaml"), task=task, target=target)
    fast = ["training.epochs=1", "training.batch_size=16", "evaluation.resamples=100", "evaluation.baselines=false"]
    found = bp.sweep(
        written.path, tmp_path / "sweep", overrides=[*fast, *small, "search.trials=2"],
        space=["training.optimizer.lr=1e-3..1e-2:log"],
    )  # fmt: skip
    assert [row["state"] for row in found.figures["trials"]] == ["complete", "complete"]
    assert resolve(str(tmp_path / "sweep" / "best.yaml")).recipe.compression.methods == LANGUAGE_METHODS
    with pytest.raises(RecipeError, match=r"can't be ranked by the loss of a token.*data\.text\.tokens.*bits a byte"):
        bp.sweep(written.path, tmp_path / "other", space=['data.text.tokens=["character", "word"]'])
    assert not (tmp_path / "other").exists()


@pytest.mark.slow
def test_a_killed_sweep_goes_on_to_the_same_end(tmp_path: Path) -> None:
    longer = ["training.epochs=30", "search.trials=4"]
    whole = swept(tmp_path, *longer, out="whole")
    out = tmp_path / "sweep"
    killed = command(tmp_path, "--out", str(out), "--set", *longer, "--quiet")
    deadline = time.monotonic() + 60
    # In the middle of the second trial: a part of its epochs is in its checkpoint.
    while time.monotonic() < deadline and not list(out.glob("trials/00001/train/checkpoint*")):
        time.sleep(0.005)
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=30)
    assert killed.returncode == -signal.SIGKILL
    assert json.loads((out / "sweep.json").read_text())["state"] == "begun"
    again = command(tmp_path, "--out", str(out), "--set", *longer, "--resume", "--json")
    answer, said = again.communicate(timeout=120)
    assert again.returncode == 0, said
    assert "1 trial(s) that were cut off" in said
    assert figures_of(json.loads(answer)["trials"]) == figures_of(whole["trials"])


def test_an_interrupted_sweep_says_how_to_go_on(done: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    recipe(tmp_path)
    out = tmp_path / "sweep"
    stopped = command(tmp_path, "--out", str(out), "--set", "training.epochs=2000", "--json")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not list(out.glob("trials/*/train/checkpoint*")):
        time.sleep(0.01)
    stopped.send_signal(signal.SIGINT)
    _, said = stopped.communicate(timeout=60)
    assert stopped.returncode == 130, said
    assert "--resume" in said


def test_two_processes_share_one_study(tmp_path: Path) -> None:
    recipe(tmp_path)
    shared = ["--storage", f"journal:{tmp_path / 'study.log'}", "--trials", "10", "--json", "--quiet"]
    both = [command(tmp_path, "--out", str(tmp_path / name), *shared) for name in ("one", "two")]
    answers = [process.communicate(timeout=180) for process in both]
    assert [process.returncode for process in both] == [0, 0], answers
    one, two = (json.loads(answer) for answer, _ in answers)
    assert figures_of(one["trials"]) == figures_of(two["trials"])
    assert len(one["trials"]) == 10
    assert [row["own"] for row in one["trials"]].count(True) == 1
    points = {json.dumps(row["params"], sort_keys=True) for row in one["trials"]}
    assert len(points) == 10, "no point is tried twice"
    workers = {json.loads(line)["user_attr"]["worker"]["process"]
               for line in (tmp_path / "study.log").read_text().splitlines() if '"worker"' in line}  # fmt: skip
    assert workers == {process.pid for process in both}, "each took some"
    assert os.getpid() not in workers


@pytest.mark.slow
def test_a_living_process_takes_over_what_a_dead_one_left(tmp_path: Path) -> None:
    recipe(tmp_path)
    shared = ["--storage", f"journal:{tmp_path / 'study.log'}", "--trials", "2", "--set", "training.epochs=100"]
    dying = command(tmp_path, "--out", str(tmp_path / "one"), *shared, "--quiet")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not list(tmp_path.glob("one/trials/00000/train/checkpoint*")):
        time.sleep(0.005)
    dying.send_signal(signal.SIGSTOP)  # alive, and in the middle of the recipe's own trial
    living = command(tmp_path, "--out", str(tmp_path / "two"), *shared, "--json")
    assert living.stderr is not None
    heard = []
    for line in living.stderr:
        heard.append(line)
        if "waiting for 1 trial(s)" in line:
            break
    dying.send_signal(signal.SIGKILL)
    dying.communicate(timeout=30)
    answer, said = living.communicate(timeout=120)
    assert living.returncode == 0, said
    assert "tried again" in said
    trials = json.loads(answer)["trials"]
    assert [(row["own"], row["state"]) for row in trials] == [(False, "complete"), (True, "complete")]


def test_choices_are_measured_once_and_shared_by_every_trial(done: tuple[Path, dict[str, Any]]) -> None:
    base = load(done[0] / "sweep" / "recipe.yaml").training
    best = load(done[0] / "sweep" / "best.yaml").training
    for key in ("device", "precision", "memory_format", "compile", "threads"):
        assert getattr(base, key) not in ("auto", None)
        assert getattr(best, key) == getattr(base, key)


def test_a_batch_size_that_every_trial_would_measure_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a batch size that stays"):
        swept(tmp_path, "training.batch_size=auto")
    found = settle(str(recipe(tmp_path)), ["training.batch_size=auto"], ["training.batch_size=16..64:log"])
    assert "training.batch_size" not in found.space.own
