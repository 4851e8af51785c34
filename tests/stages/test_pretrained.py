"""What a checkpoint decides of a recipe, and what is said where the recipe contradicts it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.data.reviews import as_table
from tests.models.published import BERT, write_checkpoint

from bedplate.core.errors import InputError
from bedplate.stages.resolve import portable, resolve

RECIPE = """name: r
task: text-embedding
data: {source: reviews.csv, target: sentiment}
training: {epochs: 0, start: {weights: tiny}}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    as_table(tmp_path / "reviews.csv", 60)
    write_checkpoint(tmp_path / "tiny", pooling="pooling_mode_cls_token", modules=("Transformer", "Pooling"))
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path / "recipe.yaml"


def test_model_sizes_tokenizer_length_and_norm_are_the_checkpoints(recipe: Path) -> None:
    found = resolve(str(recipe))
    assert found.recipe.model is not None
    arguments = found.recipe.model.arguments
    assert (found.recipe.model.name, arguments["size"], arguments["layers"], arguments["pooling"]) == (
        "bert",
        16,
        2,
        "cls",
    )
    assert found.recipe.data.text.tokenizer == "tiny/tokenizer.json"
    assert found.recipe.data.text.length == 24
    assert found.recipe.embedding.normalise is False  # the folder names no Normalize
    assert portable(found).data.text.tokenizer == str(recipe.parent / "tiny" / "tokenizer.json")
    # The length of a classifier's texts is learnt: long ones cost training.
    assert resolve(str(recipe), ["task=text-classification"]).recipe.data.text.length is None


def test_a_recipe_may_pool_drop_and_normalise_otherwise(recipe: Path) -> None:
    found = resolve(str(recipe), ["model={name: bert, pooling: max, dropout: 0.3}", "embedding.normalise=true"]).recipe
    assert found.model is not None
    assert (found.model.arguments["pooling"], found.model.arguments["dropout"]) == ("max", 0.3)
    assert found.embedding.normalise


def test_a_variable_of_the_environment_stays_one(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_WEIGHTS", str(recipe.parent))
    found = resolve(str(recipe), ["training.start.weights=$SOME_WEIGHTS/tiny"])
    assert found.recipe.data.text.tokenizer == "$SOME_WEIGHTS/tiny/tokenizer.json"
    monkeypatch.delenv("SOME_WEIGHTS")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["model={name: bag}"], r"the checkpoint has another name.*expected bert; received bag"),
        (["model={name: bert, layers: 3}"], r"another layers.*expected 2; received 3"),
        (["data.text.tokens=word"], "the checkpoint's tokenizer isn't learnt"),
        (["data.text.size=500"], "the checkpoint's tokenizer isn't learnt"),
    ],
)
def test_contradictions_are_told(recipe: Path, settings: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        resolve(str(recipe), settings)


def test_folders_that_lack_something_are_told_before_any_data_is_read(recipe: Path) -> None:
    folder = recipe.parent / "tiny"
    (folder / "tokenizer.json").unlink()
    (recipe.parent / "reviews.csv").unlink()
    with pytest.raises(InputError, match=r"brings no tokenizer\.json"):
        resolve(str(recipe))
    (folder / "config.json").write_text(json.dumps({**BERT, "model_type": "gpt_neox"}))
    with pytest.raises(InputError, match=r"'gpt_neox' isn't known here.*one of bert, distilbert"):
        resolve(str(recipe))
    (folder / "config.json").unlink()
    with pytest.raises(InputError, match=r"no config\.json"):
        resolve(str(recipe))
