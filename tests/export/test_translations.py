from __future__ import annotations

import numpy as np
import pytest
import torch

from bedplate.export import export_network
from bedplate.export.translations import _table, kept_translations
from bedplate.models import Outputs, TableInput, build

registration = pytest.importorskip("torch.onnx._internal.exporter._registration")


def test_the_table_is_made_once_and_changes_no_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    network = build("mlp", {"hidden": [4]}, TableInput(3, (), ((), (), ())), Outputs(2), 0)
    features = {"numeric": np.zeros((3, 3), np.float32)}
    made = []
    own = registration.ONNXRegistry.from_torchlib
    monkeypatch.setattr(
        registration.ONNXRegistry, "from_torchlib", staticmethod(lambda **words: made.append(words) or own(**words))
    )
    first, second = (export_network(network, features).SerializeToString() for _ in range(2))
    assert len(made) == 1
    _table.cache_clear()
    assert export_network(network, features).SerializeToString() == first == second
    assert len(made) == 2


def test_torch_gets_its_own_table_back() -> None:
    before = registration.ONNXRegistry.__dict__["from_torchlib"]
    with kept_translations():
        assert registration.ONNXRegistry.__dict__["from_torchlib"] is not before
    assert registration.ONNXRegistry.__dict__["from_torchlib"] is before


def test_a_torch_that_has_no_such_table_exports_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch.onnx._internal.exporter._registration", None)
    with kept_translations():
        assert torch.onnx is not None
