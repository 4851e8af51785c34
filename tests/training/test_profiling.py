"""Where a step's time goes: the groups, the counted arithmetic, the peak, and a console without noise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.training.samples import cnn, images, spec, table

from bedplate.models import Outputs, TableInput, build
from bedplate.objectives import objectives
from bedplate.recipe.schema import Part
from bedplate.training import Execution, TrainingData, plain, weights_digest
from bedplate.training.dry_run import dry_run
from bedplate.training.profiling import (
    STEP,
    WAITING,
    Peak,
    StepProfile,
    count_flops,
    group_of,
    measure_peak,
    profile_steps,
)


@pytest.mark.parametrize(
    ("chain", "group"),
    [
        (["aten::mkldnn_convolution", "aten::_convolution", "aten::conv2d", STEP], "convolution, forward"),
        (["aten::convolution_backward", "ConvolutionBackward0", STEP], "convolution, backward"),
        (["aten::addmm", "aten::linear", STEP], "matrix products"),
        (["aten::mm", "AddmmBackward0", STEP], "matrix products"),
        (["aten::max_pool2d_with_indices_backward", "MaxPool2DWithIndicesBackward0", STEP], "pooling"),
        (["aten::clamp_min", "aten::relu", STEP], "activations"),
        (["aten::native_batch_norm", "aten::batch_norm", STEP], "normalisation"),
        (["aten::copy_", "aten::_to_copy", "aten::to", "aten::conv2d", STEP], "copies and casts"),
        (["aten::copy_", "aten::index_select", "bedplate: batch", STEP], "batch and augmentation"),
        (["aten::_fused_adamw_", "Optimizer.step#AdamW.step", STEP], "optimiser"),
        (["aten::empty", "aten::mkldnn_convolution", STEP], "convolution, forward"),
        ([STEP], WAITING),
        (["aten::add_", STEP], "other"),
    ],
)
def test_an_operation_belongs_to_what_it_computes_or_to_who_called_it(chain: list[str], group: str) -> None:
    assert group_of(chain) == group


def test_counted_arithmetic_is_what_the_layers_say() -> None:
    rows, numeric, hidden, classes = 32, 4, 16, 3
    network = build("mlp", {"hidden": [hidden], "dropout": 0.0}, TableInput(numeric, (), ((0.0,),) * 4), Outputs(3), 0)
    whole = table()
    data = TrainingData(
        {"numeric": whole.features["numeric"]}, whole.targets,
        {"numeric": whole.validation_features["numeric"]}, whole.validation_targets,
    )  # fmt: skip
    machinery, run = dry_run(network, objectives.get("cross-entropy")(), data, plain(spec()), seed=1)
    first = 2 * rows * network.body.state_dict()[next(iter(network.body.state_dict()))].shape[1] * hidden
    second = 2 * rows * hidden * classes
    # Backwards, each layer has the gradient of its weights, and all but the first that of their inputs.
    assert count_flops(machinery, run) == 2 * first + 3 * second


def test_the_groups_add_up_and_the_network_stays(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    network = cnn()
    before = weights_digest(network.state_dict())
    settings = plain(spec(augment=Part(name="shift-flip")))
    found = profile_steps(
        network, objectives.get("cross-entropy")(), images(), settings, seed=1, steps=4, trace=tmp_path / "t.json"
    )
    assert weights_digest(network.state_dict()) == before
    assert sum(found.groups.values()) == pytest.approx(found.profiled_seconds, rel=0.02)
    for name in ("convolution, forward", "convolution, backward", "batch and augmentation", "optimiser", "pooling"):
        assert found.groups[name] > 0
    assert list(found.groups.values()) == sorted(found.groups.values(), reverse=True)
    assert found.share(*found.groups) == pytest.approx(1, rel=0.02)
    assert 0 < found.gflops < found.peak.gflops
    assert found.rows_per_second == pytest.approx(32 / found.seconds)
    assert found.to_json()["peaks"][found.peak.of] == pytest.approx(found.peak.gflops, abs=0.1)
    assert json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    noise = capfd.readouterr()
    assert noise.err == ""
    assert noise.out == ""


def test_the_peak_is_of_the_precision_asked_for() -> None:
    found = measure_peak(Execution(precision="bf16", memory_format="channels_last"), seconds=0.2)
    assert len(found.tried) == 4
    assert found.gflops == pytest.approx(max(found.tried.values()), abs=0.1)


@pytest.mark.parametrize(
    ("groups", "word"),
    [
        ({"convolution, forward": 0.6, "pooling": 0.3, WAITING: 0.1}, "compute-bound: 60%"),
        ({"convolution, forward": 0.2, "pooling": 0.4, "activations": 0.3, WAITING: 0.1}, "memory-bound: 70%"),
        ({"convolution, forward": 0.2, "pooling": 0.2, WAITING: 0.6}, "overhead-bound: 60%"),
    ],
)
def test_the_verdict_names_what_binds_the_step(groups: dict[str, float], word: str) -> None:
    found = StepProfile(1.0, 1.0, groups, 32, 10**9, Peak(10.0, "matrix product", {}), 1, 1, Execution(), 2)
    assert found.verdict.startswith(word)
