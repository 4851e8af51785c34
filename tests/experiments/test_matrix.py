"""From a file to cells: every recipe is checked beforehand, and cells of one dataset stand together."""

from __future__ import annotations

from pathlib import Path

import pytest

from bedplate.core.errors import RecipeError
from bedplate.experiments.matrix import Matrix, build_matrix, folder_names
from bedplate.experiments.spec import parse_experiment, read_experiment


def matrix(text: str, base: Path | None = None, overrides: tuple[str, ...] = ()) -> Matrix:
    return build_matrix(parse_experiment(text), base or Path(), overrides)


ARMS = "name: a\nbase: wine\narms: {full: {}, small: {model.hidden: [4]}}\n"


def test_seeds_change_the_weights_and_not_the_split() -> None:
    cells = matrix(ARMS + "seeds: [4, 9]").cells
    assert [(cell.arm, cell.seed) for cell in cells] == [("full", 4), ("small", 4), ("full", 9), ("small", 9)]
    assert len({cell.data_key for cell in cells}) == 1
    assert len({cell.fingerprint for cell in cells}) == 4
    assert {cell.resolved.recipe.seed for cell in cells} == {4, 9}


def test_arms_share_their_rows_unless_one_names_its_own_split() -> None:
    cells = matrix(
        "name: a\nbase: wine\narms: {a: {}, b: {training.epochs: 3}, c: {data.split.seed: 5}}\nseeds: 2"
    ).cells
    keys = {arm: {cell.data_key for cell in cells if cell.arm == arm} for arm in "abc"}
    assert keys["a"] == keys["b"] != keys["c"], "an arm that names its split's seed means it"
    assert all(len(one) == 1 for one in keys.values())


def test_arms_whose_forecasts_have_other_shapes_share_no_data(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(
        "name: s\ntask: forecasting\ndata: {source: s.csv, target: y, series: {time: t, history: 8, horizon: 2}}\n"
    )
    arms = "arms: {a: {}, b: {training.epochs: 3}, q: {objective: {name: quantile}}}"
    keys = {cell.arm: cell.data_key for cell in matrix(f"name: a\nbase: s.yaml\n{arms}", tmp_path).cells}
    assert keys["a"] == keys["b"] != keys["q"]


def test_resplit_and_folds_change_the_rows() -> None:
    assert len({cell.data_key for cell in matrix(ARMS + "seeds: 2\nresplit: true").cells}) == 2
    cells = matrix(ARMS + "seeds: 2\nfolds: 3").cells
    assert len(cells) == 12
    assert len({cell.data_key for cell in cells}) == 6, "each seed divides into folds of its own"
    keys = [cell.data_key for cell in cells]
    assert keys == sorted(keys, key=keys.index), "cells of the same rows stand together"


def test_an_argument_alone_keeps_the_recipes_part() -> None:
    """The shipped recipe names no model: the task's default is meant."""
    cell = matrix("name: a\nbase: wine\narms: {a: {model.dropout: 0.3}}").cells[0]
    assert cell.resolved.recipe.model is not None
    assert cell.resolved.recipe.model.name == "mlp"
    assert cell.resolved.recipe.model.arguments["dropout"] == 0.3


def test_every_problem_of_every_arm_is_told_at_once() -> None:
    with pytest.raises(RecipeError) as caught:
        matrix("name: a\nbase: wine\narms: {one: {training.epoch: 3}, two: {model.dorpout: 0.1}}")
    assert "arm 'one'" in caught.value.message
    assert "did you mean 'epochs'" in caught.value.message
    assert "arm 'two'" in caught.value.message
    assert "did you mean 'dropout'" in caught.value.message
    assert "--set" not in caught.value.message


def test_arms_of_two_kinds_and_foreign_metrics_are_refused() -> None:
    with pytest.raises(RecipeError, match="two kinds"):
        matrix("name: a\nbase: wine\narms: {one: {}, two: diabetes}")
    with pytest.raises(RecipeError, match="has no 'rmse'"):
        matrix(ARMS + "metric: rmse")
    with pytest.raises(RecipeError, match="can't vote"):
        matrix("name: a\nbase: diabetes\narms: {one: {}}\nensemble: {combine: vote}")


@pytest.mark.parametrize(
    ("task", "data", "metric", "wrong"),
    [
        ("forecasting", "{source: a.csv, target: a}", "mase", "accuracy"),
        ("text-to-text", "{source: a.csv, target: b}", "bleu", "f1"),
        ("token-classification", "{source: a.conll}", "f1", "bleu"),
        ("language-modelling", "{source: a.txt}", "bits_per_byte", "rmse"),
        ("multi-label-classification", "{source: a.jsonl, target: b}", "macro_f1", "mase"),
        ("text-embedding", "{source: a.csv, target: b}", "recall_at_10", "auroc"),
    ],
)
def test_every_task_is_compared_by_its_own_metrics(
    tmp_path: Path, task: str, data: str, metric: str, wrong: str
) -> None:
    (tmp_path / "own.yaml").write_text(f"name: own\ntask: {task}\ndata: {data}\n")
    file = "name: a\nbase: own.yaml\narms: {one: {}}\nmetric: "
    assert matrix(file + metric, tmp_path).metric == metric
    with pytest.raises(RecipeError, match=f"{task} has no '{wrong}'"):
        matrix(file + wrong, tmp_path)


def test_models_of_texts_are_not_joined() -> None:
    with pytest.raises(RecipeError, match="aren't joined to an ensemble yet"):
        matrix("name: a\nbase: sst2\narms: {one: {}}\nseeds: 2\nensemble: {combine: average}")


def test_the_metric_is_the_tasks_own() -> None:
    assert matrix(ARMS).metric == "accuracy"
    assert matrix("name: a\nbase: diabetes\narms: {one: {}}").metric == "rmse"


def test_other_tokens_are_compared_by_the_byte(tmp_path: Path) -> None:
    """A loss is one of a token: of few long tokens it is higher, though the text is foreseen as well."""
    (tmp_path / "own.yaml").write_text("name: own\ntask: language-modelling\ndata: {source: a.txt}\n")
    arms = "name: a\nbase: own.yaml\narms: {characters: {}, pairs: {data.text.tokens: bpe}}\nseeds: 2\n"
    found = matrix(arms, tmp_path)
    assert (found.metric, found.instead_of) == ("bits_per_byte", "loss")
    assert matrix(arms + "metric: perplexity", tmp_path).instead_of == "perplexity"
    assert matrix(arms + "metric: bits_per_byte", tmp_path).instead_of is None
    same = matrix("name: a\nbase: own.yaml\narms: {a: {}, b: {data.text.length: 32}}\nseeds: 2", tmp_path)
    assert (same.metric, same.instead_of) == ("loss", None)


def test_a_recipe_beside_the_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("name: own\ntask: tabular-classification\ndata: {source: wine}\n")
    cell = matrix("name: a\nbase: own.yaml\narms: {one: {}}", tmp_path).cells[0]
    assert cell.resolved.recipe.name == "own"


def test_overrides_of_the_command_line_reach_every_arm() -> None:
    cells = matrix(ARMS, overrides=("training.epochs=2",)).cells
    assert {cell.resolved.recipe.training.epochs for cell in cells} == {2}


def test_folders_are_plain_and_never_shared() -> None:
    names = folder_names(["No Augmentation", "no augmentation", "../x", "größe", "lr=0.1, wd=0"])
    assert len(set(names.values())) == 5
    assert all("/" not in name and not name.startswith(".") for name in names.values())


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[2] / "examples").glob("*.yaml")), ids=lambda p: p.stem)
def test_the_example_experiments_resolve(path: Path) -> None:
    found = build_matrix(read_experiment(path), path.parent, name=path.name)
    assert len(found.cells) == len(found.arms) * len(found.spec.seed_list)
