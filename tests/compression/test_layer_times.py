from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.compression.structures import made, rows

from bedplate.bundle.session import OnnxPredict
from bedplate.compression.layer_times import _alone, layer_times


def test_each_layer_has_a_time_and_a_larger_one_takes_more() -> None:
    network = made("mlp", {"hidden": [8, 4096, 4096]})
    found = layer_times(network, rows(network.inputs))
    assert set(found) == {f"{name}.weight" for name, m in network.named_modules() if isinstance(m, torch.nn.Linear)}
    # 4096 × 4096 beside 8 × 4096: five hundred times the work, so that no noise turns them round
    assert found["body.hidden.6.weight"] > 5 * found["body.hidden.3.weight"]
    assert all(time >= 0 for time in found.values())


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (torch.nn.Conv2d(4, 6, 3, stride=2, padding=1, dilation=2, bias=False), (1, 4, 11, 9)),
        (torch.nn.Conv2d(4, 4, (1, 3), groups=2, padding=(0, 1), bias=False), (2, 4, 5, 5)),
        (torch.nn.Linear(5, 7, bias=False), (3, 5)),
        (torch.nn.Linear(5, 7, bias=False), (2, 3, 5)),
    ],
    ids=["strides", "groups", "dense", "dense over positions"],
)
def test_what_is_timed_is_the_layer(layer: torch.nn.Module, shape: tuple[int, ...]) -> None:
    x = torch.randn(*shape)
    found = OnnxPredict(_alone(layer, x.numpy()), variant="layer")({"x": x.numpy()})["y"]
    np.testing.assert_allclose(found, layer(x).detach().numpy(), atol=1e-5)
