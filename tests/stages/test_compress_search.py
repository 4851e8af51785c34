"""What a quick search tries on texts, where most numbers lie in an embedding that no pruning reaches."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.data.reviews import as_table

from bedplate import pipeline
from bedplate.compression.front import Budget
from bedplate.stages.compress_bundle import compress_bundle

RECIPE = """name: reviews
task: text-classification
data: {{source: {source}, target: sentiment}}
model: {model}
training: {{epochs: 3, batch_size: 16, optimizer: {{name: adamw, lr: 0.01}}}}
evaluation: {{resamples: 100, baselines: false}}
compression: {{methods: [int8-dynamic]}}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("search")
    as_table(place / "reviews.csv", 300)
    return place


@pytest.mark.parametrize(
    ("model", "student"),
    [
        ("{name: lstm, size: 96, hidden: 16}", ""),
        ("{name: transformer-encoder, size: 64, heads: 2, layers: 2}", "low-rank-40"),
    ],
)
def test_factors_and_stored_weights_stand_in_for_pruning(place: Path, model: str, student: str) -> None:
    recipe = place / "recipe.yaml"
    recipe.write_text(RECIPE.format(source=place / "reviews.csv", model=model))
    run = pipeline.run(recipe, place / ("student" if student else "lone")).path
    found = compress_bundle(run, Budget(max_drop=50), effort="quick")
    refused = dict(found.refused)
    assert "doesn't get so far" in refused["cost-25"]
    tried = {point.name for point in (*found.front, *found.others)} | set(refused)
    if student:
        assert any(name.startswith(student) for name in tried)
    else:
        # Factors of the attention alone make it no smaller; whether they count as faster is left to a noisy clock.
        made = [point for point in (*found.front, *found.others) if point.name == "low-rank-40"]
        assert "low-rank-40" in refused or made[0].size_bytes > 0.9 * found.baseline.size_bytes
        smallest = min(found.front, key=lambda point: point.size_bytes)
        assert smallest.name.endswith("-int8-weights")
        assert smallest.size_bytes < 0.5 * found.baseline.size_bytes
