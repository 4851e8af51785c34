"""The `.pt2` answers as the network at any number of rows, in a process that knows nothing of Bedplate, pickle-free."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from bedplate.checks.battery import SAMPLES, sample_features
from bedplate.core.arrays import take
from bedplate.core.errors import GateError
from bedplate.export.torch_export import FILE, fresh_answers, pickles, to_torch_export, torch_predictor
from bedplate.models import Network, Outputs, TableInput, build, predictor


@pytest.mark.parametrize(("model", "inputs"), [("cnn", "grey images"), ("mlp", "a table")])
def test_it_answers_as_the_network(model: str, inputs: str, tmp_path: Path) -> None:
    network = build(model, {}, SAMPLES[inputs], Outputs(3), 0).eval()
    features = sample_features(SAMPLES[inputs])
    to_torch_export(network, features, tmp_path)
    run, like = torch_predictor(tmp_path, network.inputs.names, "probabilities"), predictor(network)
    for rows in (1, 2, 3, 7):
        asked = take(features, np.arange(rows))
        np.testing.assert_allclose(run(asked)["probabilities"], like(asked)["probabilities"], atol=1e-6)
    fresh = fresh_answers(tmp_path, features, network.inputs.names)
    np.testing.assert_allclose(fresh, like(features)["probabilities"], atol=1e-6)


def test_nothing_in_the_file_is_a_pickle(tmp_path: Path) -> None:
    network = build("linear", {}, SAMPLES["a table of numbers"], Outputs(3), 0).eval()
    to_torch_export(network, sample_features(SAMPLES["a table of numbers"]), tmp_path)
    assert pickles(tmp_path / FILE) == []
    with zipfile.ZipFile(tmp_path / FILE) as archive:
        kinds = {Path(name).name: archive.read(name)[:1] for name in archive.namelist()}
    assert kinds["model.json"] == b"{"


def test_a_pickle_would_be_seen(tmp_path: Path) -> None:
    class Twice(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * x

    program = torch.export.export(Twice(), (torch.ones(2),))
    torch.export.save(program, tmp_path / "usual.pt2")  # with its example inputs
    assert any("sample_inputs" in name for name in pickles(tmp_path / "usual.pt2"))


def test_a_model_that_cannot_be_exported_is_refused(tmp_path: Path) -> None:
    class Choosing(nn.Module):
        def forward(self, numeric: torch.Tensor) -> torch.Tensor:
            return numeric[:, :3] if numeric.sum() > 0 else -numeric[:, :3]

    inputs = TableInput(4, (), ((),) * 4)
    with pytest.raises(GateError, match=r"can't be exported by torch\.export"):
        to_torch_export(Network(Choosing(), inputs, Outputs(3)).eval(), sample_features(inputs), tmp_path)


def test_a_damaged_file_is_seen_by_the_fresh_process(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no archive")
    with pytest.raises(GateError, match="a fresh process can't run"):
        fresh_answers(tmp_path, {"numeric": np.zeros((1, 4), np.float32)}, ["numeric"])
