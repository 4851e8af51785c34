"""The experiment file: what it may say, and what it is told where it says something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from bedplate.core.errors import InputError, RecipeError
from bedplate.experiments.spec import arms_of, ensemble_arms, parse_experiment, read_experiment, reference_of

ARMS = "name: a\nbase: wine\narms: {full: {}, none: {model.dropout: 0}}\n"


def test_defaults_are_the_honest_ones() -> None:
    spec = parse_experiment(ARMS)
    assert spec.seed_list == [0]
    assert spec.split == "validation"
    assert reference_of(spec) == "full"
    assert parse_experiment(ARMS + "folds: 5").split == "test", "the fold that is left out"
    assert parse_experiment(ARMS + "seeds: [3, 1]").seed_list == [3, 1]
    assert ensemble_arms(parse_experiment(ARMS + "ensemble: {}")) == ["full"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (ARMS + "sedes: 3", ("unknown key 'sedes'", "did you mean 'seeds'", "x.yaml:4")),
        ("base: wine\narms: {a: {}}", ("name", "needed")),
        ("name: a\nbase: wine", ("either `arms` or `factors`",)),
        (ARMS + "factors: {seed: [1, 2]}", ("either `arms` or `factors`",)),
        (ARMS + "reference: ful", ("no arm 'ful'", "did you mean 'full'")),
        (ARMS + "ensemble: {of: [full, nonne]}", ("no arm 'nonne'", "did you mean 'none'")),
        (ARMS + "ensemble: {combine: voting}", ("combine", "average")),
        (ARMS + "ensemble: {combines: vote}", ("unknown key 'combines'", "did you mean 'combine'")),
        (ARMS + "seeds: 0", ("seeds", "a count from 1")),
        (ARMS + "seeds: [1, 1]", ("different numbers",)),
        (ARMS + "metric: acuracy", ("unknown metric", "did you mean 'accuracy'")),
        (ARMS + "folds: 5\njudged_on: validation", ("judged_on",)),
        (ARMS + "folds: 1", ("folds", "greater than or equal to 2")),
        ("name: a\nbase: wine\nfactors: {model.dropout: [0]}", ("two levels",)),
        ("name: a\nname: b\nbase: wine", ("appears twice",)),
        ("[1, 2]", ("a mapping of keys", "list")),
        ("a: [", ("not valid YAML",)),
        ("", ("a mapping of keys", "nothing")),
        (ARMS + "seeds: 9999", ("too many runs",)),
    ],
)
def test_wrong_files_are_told_what_to_write(text: str, words: tuple[str, ...]) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_experiment(text, name="x.yaml")
    for word in words:
        assert word in caught.value.message


def test_a_missing_file_is_told_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "parts.yaml").write_text(ARMS)
    with pytest.raises(InputError, match=r"did you mean 'parts.yaml'"):
        read_experiment(tmp_path / "part.yaml")


def test_factors_are_crossed_and_named() -> None:
    spec = parse_experiment(
        "name: a\nbase: wine\nfactors:\n  model.dropout: [0, 0.5]\n  training.augment: {none: null, shift: shift-flip}"
    )
    arms = arms_of(spec)
    assert list(arms) == [
        "dropout=0, augment=none", "dropout=0, augment=shift", "dropout=0.5, augment=none", "dropout=0.5, augment=shift"
    ]  # fmt: skip
    assert arms["dropout=0.5, augment=none"] == ("wine", {"model.dropout": 0.5, "training.augment": None})


def test_an_arm_may_be_another_recipe() -> None:
    spec = parse_experiment("name: a\nbase: wine\narms: {one: {}, two: digits, three: {recipe: x, model.dropout: 0}}")
    assert arms_of(spec) == {"one": ("wine", {}), "two": ("digits", {}), "three": ("x", {"model.dropout": 0})}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("arms: {a: {}, b: {seed: 4}}", r"arms\.b: the seed is no part of an arm.*seeds: "),
        ("factors: {model.dropout: [0, 0]}", r"factors\.model\.dropout: a factor's levels are not all different"),
    ],
)
def test_what_would_make_arms_alike_is_refused(text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        parse_experiment(f"name: a\nbase: wine\n{text}")
