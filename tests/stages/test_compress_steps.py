"""Each step of a compression on a small trained network: what it makes, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bedplate import pipeline
from bedplate.compression.cost import macs_and_parameters
from bedplate.compression.sparsity import zeros_share
from bedplate.core.console import Console
from bedplate.core.errors import InputError
from bedplate.stages.compress_maker import Maker
from bedplate.stages.compress_source import open_source
from bedplate.stages.compress_trained import Trained

SETTINGS = ["training.epochs=3", "gate={}", "evaluation.resamples=100", "evaluation.baselines=false"]


@pytest.fixture(scope="module")
def maker(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    run = pipeline.run("digits", tmp_path_factory.mktemp("digits") / "run", overrides=SETTINGS).path
    source = open_source(run, Console(quiet=True))
    assert isinstance(source, Trained)
    return source.maker


def test_widths_by_sensitivity_cost_what_is_asked_and_move_the_answers_less(maker: Maker) -> None:
    bench = maker.bench
    moved = {}
    for allocation in ("importance", "sensitivity"):
        state = maker.make([{"do": "prune", "macs": 0.3, "allocation": allocation}])
        share = macs_and_parameters(state.network, bench.calibration).macs / bench.cost.macs
        assert 0.15 < share <= 0.3
        agree = bench.answers(state.network).argmax(1) == bench.answers(bench.original).argmax(1)
        moved[allocation] = 1 - agree.mean()
    assert moved["sensitivity"] < moved["importance"]
    assert "widths by sensitivity" in maker.make([{"do": "prune", "macs": 0.3, "allocation": "sensitivity"}]).said[0]


@pytest.mark.parametrize("method", ["svd", "weighted-svd"])
def test_ranks_by_sensitivity_keep_to_the_budget(maker: Maker, method: str) -> None:
    steps = {
        ranks: maker.make([{"do": "factorise", "parameters": 0.4, "method": method, "ranks": ranks}])
        for ranks in ("energy", "sensitivity")
    }
    whole = sum(parameter.numel() for parameter in maker.bench.original.parameters())
    for state in steps.values():
        assert sum(parameter.numel() for parameter in state.network.parameters()) < 0.45 * whole
    assert steps["energy"].changes != steps["sensitivity"].changes
    assert "ranks by sensitivity" in steps["sensitivity"].said[0]


def test_more_energy_moves_the_answers_less(maker: Maker) -> None:
    bench = maker.bench
    reference = bench.answers(bench.original)
    distances = [
        float(np.abs(bench.answers(maker.make([{"do": "factorise", "energy": energy}]).network) - reference).mean())
        for energy in (0.3, 0.5, 0.7)
    ]
    assert distances[0] > distances[1] > distances[2] > 0


@pytest.mark.parametrize("by", ["magnitude", "random"])
def test_single_weights_become_zero(maker: Maker, by: str) -> None:
    state = maker.make([{"do": "zero", "share": 0.6, "by": by}])
    assert zeros_share(state.network) == pytest.approx(0.6, abs=1e-3)
    assert zeros_share(maker.bench.original) < 0.01
    assert state.changes == ()


def test_distillation_can_end_at_zeros(maker: Maker) -> None:
    bench = maker.bench
    taught = maker.make([{"do": "distil", "epochs": 2, "zeros": 0.8}])
    cut = maker.make([{"do": "zero", "share": 0.8}])
    assert zeros_share(taught.network) == pytest.approx(0.8, abs=1e-3)
    reference = bench.answers(bench.original).argmax(1)
    right = [(bench.answers(state.network).argmax(1) == reference).mean() for state in (taught, cut)]
    assert right[0] > right[1]


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"do": "prune", "macs": 0.5, "importance": "tailor"}, "did you mean 'taylor'"),
        ({"do": "prune", "macs": 0.5, "allocation": "sensitive"}, "sensitivity"),
        ({"do": "prune", "macs": 0.5, "widths": 0.5}, "one of macs, parameters, time, cost"),
        ({"do": "factorise"}, "either parameters or energy"),
        ({"do": "factorise", "parameters": 0.5, "energy": 0.5}, "either parameters or energy"),
        ({"do": "factorise", "parameters": 0.5, "ranks": "measure"}, "unknown ranks 'measure'"),
        ({"do": "zero", "share": 0.5, "by": "luck"}, "magnitude"),
        ({"do": "zero", "share": 1.5}, "at most 1"),
        ({"do": "prune", "cost": 7}, "steps: cost: a share is wanted"),
        ({"do": "prune", "cost": "lots"}, "received 'lots'"),
        ({"do": "factorise", "energy": -1}, "above 0"),
        ({"do": "decompose", "parameters": True}, "received true"),
        ({"do": "distil", "epochs": -3}, "1 or more"),
        ({"do": "prune", "time": 0.5, "times": {"nothing": 3}}, "time that can be measured"),
        ({"do": "zero"}, "missing argument 'share'"),
        ({"do": "prun", "macs": 0.5}, "did you mean 'prune'"),
    ],
)
def test_steps_that_cannot_be_done(maker: Maker, step: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        maker.make([step])


def test_what_was_trained_is_not_trained_again(maker: Maker, tmp_path: Path) -> None:
    steps = [{"do": "prune", "macs": 0.5}, {"do": "distil", "epochs": 1}]
    first = Maker(maker.bench, tmp_path).make(steps)
    (weights,) = tmp_path.glob("*.safetensors")
    written = weights.stat().st_mtime_ns
    again = Maker(maker.bench, tmp_path).make(steps)
    assert weights.stat().st_mtime_ns == written
    assert again.said == first.said
    for one, other in zip(first.network.parameters(), again.network.parameters(), strict=True):
        np.testing.assert_array_equal(one.detach().numpy(), other.detach().numpy())
