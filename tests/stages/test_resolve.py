"""Resolving: shipped recipes are found and valid, parts are checked, defaults are written out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bedplate import pipeline
from bedplate.core.errors import BedplateError, InputError, RecipeError
from bedplate.recipe import recipe_fingerprint
from bedplate.recipe.load import to_yaml
from bedplate.stages.resolve import comment_of, portable, resolve, shipped_recipes

GOOD = "name: a\ntask: {task}\ndata: {{source: {source}}}\n"


def written(tmp_path: Path, more: str = "", task: str = "image-classification", source: str = "digits") -> str:
    path = tmp_path / "r.yaml"
    path.write_text(GOOD.format(task=task, source=source) + more)
    return str(path)


def problems(path: str, *overrides: str) -> str:
    with pytest.raises(RecipeError) as caught:
        resolve(path, overrides)
    return caught.value.message


@pytest.mark.parametrize("name", list(shipped_recipes()))
def test_every_shipped_recipe_resolves_and_says_what_it_is(name: str) -> None:
    resolved = resolve(name)
    assert resolved.recipe.name == name.partition("/")[2]
    assert resolved.task.name == name.partition("/")[0]
    assert len(comment_of(shipped_recipes()[name])) > 20
    again = resolved.path.parent / resolved.path.name
    assert recipe_fingerprint(resolve(str(again)).recipe) == recipe_fingerprint(resolved.recipe)


def test_defaults_of_the_parts_are_written_out(tmp_path: Path) -> None:
    recipe = resolve(written(tmp_path)).recipe
    assert recipe.model is not None
    assert recipe.model.name == "cnn"
    assert recipe.model.arguments["widths"] == [32, 64, 64]
    assert recipe.objective is not None
    assert recipe.objective.name == "cross-entropy"
    assert recipe.training.optimizer.arguments["weight_decay"] == 0.01


def test_a_perceptron_gets_its_own_objective(tmp_path: Path) -> None:
    recipe = resolve(written(tmp_path, "model: perceptron\n")).recipe
    assert recipe.objective is not None
    assert recipe.objective.name == "perceptron"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("model: {name: cn}\n", "r.yaml:4 model.name: unknown model 'cn'"),
        ("model: {name: cnn, witdhs: [3]}\n", "did you mean 'widths'"),
        ("model: {name: cnn, dropout: 2}\n", "model.dropout"),
        ("training: {optimizer: {name: adamm}}\n", "did you mean 'adam'"),
        ("training: {optimizer: {name: sgd, momentun: 0.9}}\n", "did you mean 'momentum'"),
        ("training: {schedule: {name: cosin}}\n", "did you mean 'cosine'"),
        ("training: {augment: {name: shift-flip, shfit: 1}}\n", "did you mean 'shift'"),
        ("objective: {name: squared-error}\n", "objective 'squared-error' is for number"),
        ("compression: {methods: [int8-statik]}\n", "did you mean 'int8-static'"),
        ("plugins: [./nothing.py]\n", "no such plug-in"),
    ],
)
def test_bad_parts_are_named_with_their_place(tmp_path: Path, more: str, words: str) -> None:
    assert words in problems(written(tmp_path, more))


def test_problems_of_schema_and_parts_come_together(tmp_path: Path) -> None:
    text = problems(written(tmp_path, "model: {name: cn}\nsede: 1\n"))
    assert "model.name" in text
    assert "unknown key 'sede'" in text


@pytest.mark.parametrize(
    ("task", "source", "words"),
    [("tabular-classification", "digits", "is no data for"), ("tabular-regression", "some.csv", "needs `target`")],
)
def test_what_does_not_go_together_is_refused(tmp_path: Path, task: str, source: str, words: str) -> None:
    assert words in problems(written(tmp_path, task=task, source=source))


def test_no_data_at_all_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("name: a\ntask: image-classification\ndata: {}\n")
    assert "either `source` or `files`" in problems(str(tmp_path / "r.yaml"))


def test_an_unknown_recipe_names_its_neighbour() -> None:
    with pytest.raises(InputError, match="did you mean 'digits'"):
        resolve("digit")


def test_the_resolved_recipe_runs_from_anywhere(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,y\n1,2\n")
    resolved = resolve(written(tmp_path, task="tabular-regression", source="rows.csv, target: y"))
    assert portable(resolved).data.source == str((tmp_path / "rows.csv").resolve())
    assert resolved.recipe.data.source == "rows.csv"


SMALL = ["training.epochs=1", "gate={}", "evaluation.baselines=false", "compression.methods=[]"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.freeze=[nix]", "no weight is called 'nix'"),
        ("training.rates={nix: 2}", "no weight is called 'nix'"),
        ("training.start={weights: nowhere}", "no such weights"),
        ("objective={name: cross-entropy, class_weights: [1.0]}", "not one weight a class"),
    ],
)
def test_a_refused_fresh_run_leaves_the_old_one_whole(tmp_path: Path, override: str, message: str) -> None:
    path = tmp_path / "run"
    pipeline.run("wine", path, overrides=SMALL)
    before = {file.relative_to(path): file.read_bytes() for file in path.rglob("*") if file.is_file()}
    with pytest.raises(BedplateError, match=message):
        pipeline.run("wine", path, overrides=[*SMALL, override], mode="fresh")
    assert {file.relative_to(path): file.read_bytes() for file in path.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["training.device=cuda"], "torch finds no GPU here"),
        (["training.threads=20000"], "more threads than this machine can use"),
        (["training.l2=1e300"], "training.l2=1e300: wrong value"),
        (["training.epochs=0"], "no weights to take"),
        (["training.optimizer={name: schedule-free-adamw}", "training.schedule={name: cosine}"], "takes no falling"),
        (["training.augment=[noise, rotate]"], "'rotate' is for images"),
        (["training.augment=mixup", "objective=perceptron"], "mixed targets"),
        (["training.start={weights: ''}"], "wrong value"),
    ],
)
def test_combinations_that_cannot_work_are_refused_before_data_is_read(overrides: list[str], message: str) -> None:
    if "cuda" in overrides[0] and os.environ.get("CUDA_VISIBLE_DEVICES"):
        pytest.skip("there is a GPU here")
    with pytest.raises(BedplateError, match=message):
        resolve("wine", overrides)


def test_one_mistake_under_a_union_is_one_problem_at_its_own_key() -> None:
    with pytest.raises(BedplateError) as caught:
        resolve("wine", ["training.batch_size=0"])
    assert caught.value.message.count("training.batch_size") == 1
    assert "constrained" not in caught.value.message
    with pytest.raises(BedplateError, match=r"--set training.augment=\[7\]") as caught:
        resolve("wine", ["training.augment=[7]"])
    assert "Part" not in caught.value.message


def test_short_names_work_in_lists_and_under_later_overrides() -> None:
    found = resolve(
        "digits", ["training.augment=[rotate, mixup]", "training.optimizer=muon", "training.optimizer.lr=0.01"]
    )
    training = found.recipe.training
    assert [part.name for part in training.augment] == ["rotate", "mixup"]  # type: ignore[union-attr]
    assert (training.optimizer.name, training.optimizer.arguments["lr"]) == ("muon", 0.01)


@pytest.mark.parametrize(
    ("task", "text", "words"),
    [
        ("text-to-text", "{template: {user: '{content}'}}", "data.text.template: only talks have a template"),
        ("text-classification", "{messages: m}", "data.text.messages: only text-to-text learns talks"),
        ("language-modelling", "{messages: m, template: {}}", "data.text.template: only text-to-text"),
        (
            "text-to-text", "{messages: m, template: {usr: '{content}'}}",
            "unknown key 'usr' (expected one of system, user, assistant). did you mean 'user'?",
        ),
        (
            "text-to-text", "{messages: m, template: {user: 'User: '}}",
            "data.text.template.user: the template doesn't say where the user's message stands",
        ),
        ("text-to-text", "{messages: m, template: {user: 3}}", "data.text.template.user: wrong value"),
    ],
)  # fmt: skip
def test_what_does_not_go_with_talks_is_told(tmp_path: Path, task: str, text: str, words: str) -> None:
    path = written(tmp_path, task=task, source=f"a.jsonl, text: {text}")
    assert words in problems(path)


def test_a_recipe_of_talks_with_its_defaults_written_out_runs_again(tmp_path: Path) -> None:
    path = written(
        tmp_path, task="text-to-text", source="a.jsonl, text: {messages: m, template: {user: '<{content}>'}}"
    )
    recipe = resolve(path).recipe
    (tmp_path / "again.yaml").write_text(to_yaml(recipe))
    assert resolve(str(tmp_path / "again.yaml")).recipe == recipe


def test_an_optimiser_without_a_name_is_the_usual_one() -> None:
    optimizer = resolve("titanic", ["training.optimizer={weight_decay: 0.1}"]).recipe.training.optimizer
    assert (optimizer.name, optimizer.arguments["lr"], optimizer.arguments["weight_decay"]) == ("adamw", 0.001, 0.1)


def test_a_label_may_be_written_as_a_number() -> None:
    assert resolve("titanic", ["data.positive=1"]).recipe.data.positive == "1"
    with pytest.raises(BedplateError, match=r"data.positive"):
        resolve("titanic", ["data.positive=yes"])


@pytest.mark.parametrize(
    ("gate", "message"),
    [
        ("minimum.accuracy=50", r"gate.minimum.accuracy=50: accuracy is never so .*such as 1; received 50"),
        ("maximum.log_loss=-1", r"gate.maximum.log_loss=-1: log_loss is never so .*such as 0; received -1"),
    ],
)
def test_a_gate_that_no_figure_passes_is_refused(gate: str, message: str) -> None:
    with pytest.raises(BedplateError, match=message):
        resolve("wine", [f"gate.{gate}"])
