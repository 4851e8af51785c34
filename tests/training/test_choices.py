"""Measured choices: what is tried, what is taken, and that the network under trial stays as it was."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
import torch
from tests.training.samples import cnn, go, images, mlp, spec, table

from bedplate.core.machine import cpu_features
from bedplate.objectives import objectives
from bedplate.recipe.schema import Part, TrainingSpec
from bedplate.training import choices, choose, settle, weights_digest
from bedplate.training.choices import AGREEMENT, deviation

BF16 = bool(cpu_features() & {"avx512_bf16", "amx_bf16", "bf16"})


def _choose(settings: TrainingSpec, network: Any = None, data: Any = None, **more: Any) -> choices.Choices:
    arguments = {"seed": 1, "threads": torch.get_num_threads(), **more}
    return choose(network or cnn(), objectives.get("cross-entropy")(), data or images(), settings, **arguments)


def test_a_short_training_is_not_worth_a_trial() -> None:
    found = _choose(spec())
    assert found.trials == []
    assert found.settled["precision"] == "fp32"
    assert found.settled["batch_size"] == 32
    assert "not tried: training is predicted at" in found.reasons["precision"]
    assert found.reasons["batch_size"] == "the recipe says so"


def test_the_trial_times_the_alternatives_and_leaves_everything_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choices, "WORTH_A_TRIAL", 0.0)
    network, said = cnn(), []
    before, random = weights_digest(dict(network.state_dict())), torch.get_rng_state()
    found = _choose(spec(), network, announce=said.append)
    assert weights_digest(dict(network.state_dict())) == before
    assert torch.equal(torch.get_rng_state(), random)
    combinations = {(t["precision"], t["memory_format"], t["threads"]) for t in found.trials}
    assert len(combinations) == len(found.trials) >= (4 if BF16 else 2)
    assert found.trials[0]["loss_deviation"] is None
    assert all(entry["rows_per_second"] > 0 for entry in found.trials)
    taken = [
        t for t in found.trials if all(t[k] == found.settled[k] for k in ("precision", "memory_format", "threads"))
    ]
    assert len(taken) == 1
    assert taken[0]["loss_deviation"] is None or taken[0]["loss_deviation"] <= AGREEMENT
    assert "rows/s against" in found.reasons["memory_format"]
    assert any(line.startswith("memory_format: ") for line in said)


def test_an_alternative_whose_losses_disagree_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choices, "WORTH_A_TRIAL", 0.0)
    monkeypatch.setattr(choices, "AGREEMENT", -1.0)
    monkeypatch.setattr(choices, "GAIN", 0.0)
    found = _choose(spec())
    assert (found.settled["precision"], found.settled["memory_format"]) == ("fp32", "contiguous")


def test_deviation_is_relative_and_of_the_second_half() -> None:
    assert deviation([9.0, 9.0, 1.0, 1.1], [1.0, 1.0, 1.0, 1.0]) == pytest.approx(0.05)
    assert deviation([1.0, 1.0], [1.0, 1.0]) == 0


def test_what_the_recipe_says_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choices, "WORTH_A_TRIAL", 0.0)
    settings = spec(precision="fp32", memory_format="channels_last", compile=False, device="cpu", threads=1)
    found = _choose(settings, threads=1)
    assert found.spec == settings
    assert found.trials == []
    assert set(found.reasons.values()) == {"the recipe says so"}


def test_a_table_has_no_layout_to_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choices, "WORTH_A_TRIAL", 0.0)
    found = _choose(spec(), mlp(), table())
    assert found.reasons["memory_format"] == "there are no convolutions"


def test_an_automatic_batch_scales_the_learning_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choices, "WORTH_A_TRIAL", 0.0)
    monkeypatch.setattr(choices, "BATCH_SIZES", (32,))
    settings = spec(batch_size="auto", precision="fp32", memory_format="contiguous")
    found = _choose(settings)
    assert found.settled["batch_size"] == 32
    assert found.spec.optimizer.arguments["lr"] == pytest.approx(0.005)
    again = settle(settings, found.to_json())
    assert again.batch_size == 32
    assert again.optimizer.arguments["lr"] == pytest.approx(0.005)
    linear = _choose(settings.model_copy(update={"optimizer": Part(name="sgd", lr=0.1)}))
    assert linear.spec.optimizer.arguments["lr"] == pytest.approx(0.025)


def test_settled_choices_leave_nothing_automatic() -> None:
    settings = spec(batch_size="auto")
    again = settle(settings, _choose(settings).to_json())
    assert "auto" not in again.model_dump().values()
    assert again.threads == torch.get_num_threads()


def test_compiling_a_short_training_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choices, "WORTH_A_TRIAL", 0.0)
    assert "not tried: training takes about" in _choose(spec()).reasons["compile"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")  # torch's own compiler says it of itself
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiling_is_measured_and_trains_the_same_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choices, "WORTH_A_TRIAL", 0.0)
    monkeypatch.setattr(choices, "COMPILE_SECONDS", 0.0)
    settings = spec(precision="fp32", memory_format="channels_last", device="cpu")
    found = _choose(settings)
    assert "s to compile" in found.reasons["compile"]
    assert any(entry["compile"] for entry in found.trials)
    plain, compiled = (go(cnn(), images(), settings.model_copy(update={"compile": c})) for c in (False, True))
    assert compiled.history[-1]["train_loss"] == pytest.approx(plain.history[-1]["train_loss"], abs=0.05)
    assert list(compiled.network.state_dict()) == list(plain.network.state_dict())
