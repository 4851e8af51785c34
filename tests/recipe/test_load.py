"""Recipes: typed, closed to unknown keys, with every problem at once and its place."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bedplate.core.errors import InputError, RecipeError
from bedplate.recipe import json_schema, load, parse, recipe_fingerprint, to_yaml
from bedplate.recipe.schema import Recipe

GOOD = "name: a\ntask: image-classification\ndata: {source: digits}\n"


def problems(text: str, *overrides: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        parse(text, name="r.yaml", overrides=overrides)
    return [problem.message for problem in caught.value.problems]


def test_defaults_are_written_out_and_read_back_equal() -> None:
    recipe = parse(GOOD)
    again = parse(to_yaml(recipe))
    assert again == recipe
    assert recipe_fingerprint(again) == recipe_fingerprint(recipe)


def test_all_problems_come_at_once_with_file_line_key_and_remedy() -> None:
    text = "name: a\ntask: image-clasification\ndata:\n  sorce: digits\ntraining:\n  epochs: ten\n  optimiser: adam\n"
    found = problems(text)
    assert len(found) == 4
    assert any(line.startswith("r.yaml:2 task:") and "did you mean 'image-classification'?" in line for line in found)
    assert any(line.startswith("r.yaml:4 data.sorce:") and "did you mean 'source'?" in line for line in found)
    assert any(line.startswith("r.yaml:6 training.epochs:") and "received 'ten'" in line for line in found)
    assert any(
        line.startswith("r.yaml:7 training.optimiser:") and "did you mean 'optimizer'?" in line for line in found
    )


@pytest.mark.parametrize(
    ("path", "level"),
    [("zzz", ""), ("data.zzz", "data"), ("data.split.zzz", "split"), ("data.image.zzz", "image"), ("training.zzz", "training"),
     ("training.early_stopping.zzz", "early_stopping"), ("evaluation.zzz", "evaluation"), ("compression.zzz", "compression"),
     ("gate.zzz", "gate"), ("serving.zzz", "serving"), ("data.columns.age.zzz", "age")],
)  # fmt: skip
def test_every_level_is_closed(path: str, level: str) -> None:
    del level
    (found,) = problems(GOOD, f"{path}=1")
    assert "unknown key 'zzz'" in found
    assert "--set" in found


def test_overrides_are_typed_like_the_file() -> None:
    recipe = parse(GOOD, overrides=["training.epochs=3", "training.optimizer={name: sgd, lr: 1e-1}", "seed=7"])
    assert recipe.training.epochs == 3
    assert recipe.training.optimizer.arguments == {"lr": 0.1}
    assert recipe.seed == 7
    assert "not a key=value" in problems(GOOD, "training.epochs")[0]
    assert "--set training.epochs=-1" in problems(GOOD, "training.epochs=-1")[0]


def test_a_name_alone_stands_for_a_part() -> None:
    assert parse(GOOD + "model: cnn\n").model.name == "cnn"  # type: ignore[union-attr]


def test_numbers_like_1e_3_are_numbers() -> None:
    assert parse(GOOD + "training: {optimizer: {name: sgd, lr: 1e-3}}\n").training.optimizer.arguments["lr"] == 0.001


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", "a recipe is a mapping"), ("- 1", "a recipe is a mapping"), ("name: [", "not valid YAML"), ("name: a\nname: b\n", "appears twice"),
     (GOOD + "seed: -1\n", "seed"), (GOOD + "seed: .nan\n", "seed"), ("name: ../x\ntask: image-classification\ndata: {source: d}\n", "name")],
)  # fmt: skip
def test_bad_files_are_explained(text: str, expected: str) -> None:
    assert expected in "\n".join(problems(text))


def test_a_missing_file_names_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "mnist.yaml").write_text(GOOD)
    with pytest.raises(InputError, match=r"did you mean 'mnist\.yaml'"):
        load(tmp_path / "mnits.yaml")


def test_the_fingerprint_follows_content_not_form() -> None:
    one = parse("name: a\ntask: image-classification\ndata: {source: digits}\nseed: 0\n")
    two = parse("# other form\ntask: image-classification\nname: a\ndata:\n  source: digits\n")
    assert recipe_fingerprint(one) == recipe_fingerprint(two)
    assert recipe_fingerprint(one) != recipe_fingerprint(parse(GOOD, overrides=["seed=1"]))


def test_the_schema_accepts_what_the_loader_accepts() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load(GOOD), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**yaml.safe_load(GOOD), "zzz": 1}, schema)
    json.dumps(schema)


@given(st.integers(0, 2**53 - 1), st.integers(1, 1000), st.floats(0.01, 0.4), st.sampled_from(["random", "time"]))
def test_any_recipe_survives_its_yaml(seed: int, epochs: int, share: float, by: str) -> None:
    raw = {"name": "a", "seed": seed, "task": "tabular-regression", "training": {"epochs": epochs},
           "data": {"source": "x.csv", "target": "y", "split": {"by": by, "column": "c", "test": share}}}  # fmt: skip
    recipe = Recipe.model_validate(raw)
    assert parse(to_yaml(recipe)) == recipe
