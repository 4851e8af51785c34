import warnings
from collections.abc import Callable

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from bedplate.export.onnx import OPSET
from bedplate.export.recurrent import TRANSLATIONS, RecurrentLayers, exportable

LAYERS: dict[str, Callable[[], nn.RNNBase]] = {
    "lstm, two layers, both ways": lambda: nn.LSTM(5, 6, 2, batch_first=True, bidirectional=True),
    "lstm, length first": lambda: nn.LSTM(5, 6),
    "gru": lambda: nn.GRU(5, 6, batch_first=True),
    "gru, both ways, no bias": lambda: nn.GRU(5, 6, batch_first=True, bidirectional=True, bias=False),
    "rnn": lambda: nn.RNN(5, 6, 2, batch_first=True),
    "rnn, relu": lambda: nn.RNN(5, 6, batch_first=True, nonlinearity="relu"),
}


class Everything(nn.Module):
    """Answers with every state, the last one, and the memory."""

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        states, ended = self.layer(x)
        last = torch.cat(ended) if isinstance(ended, tuple) else ended
        return states.sum((0, 1))[None] + last.sum((0, 1)).sum() + states.amax((0, 1))[None]


@pytest.mark.parametrize("name", LAYERS)
def test_the_plain_twin_computes_what_torch_does(name: str) -> None:
    torch.manual_seed(0)
    layer = LAYERS[name]().eval()
    twin = RecurrentLayers(layer)
    for shape in ((1, 1, 5), (3, 7, 5)):
        x = torch.randn(shape)
        (ours, ended), (theirs, wanted) = twin(x), layer(x)
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(ended, wanted, atol=1e-6, rtol=1e-5)
    size = 3 if layer.batch_first else 7
    first = torch.randn(layer.num_layers * (2 if layer.bidirectional else 1), size, 6)
    given = (first, first * 0.5) if isinstance(layer, nn.LSTM) else first
    torch.testing.assert_close(twin(x, given)[0], layer(x, given)[0], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", LAYERS)
def test_the_graph_takes_any_length_again_and_again(name: str) -> None:
    torch.manual_seed(0)
    network = Everything(LAYERS[name]()).eval()
    rows, length = torch.export.Dim("rows"), torch.export.Dim("length")
    free = {0: rows, 1: length} if network.layer.batch_first else {0: length, 1: rows}
    for _ in range(2):  # torch's own export fixes the length from the second time on
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                exportable(network), (torch.randn(3, 4, 5),), dynamo=True, opset_version=OPSET, verbose=False,
                dynamic_shapes=(free,), custom_translation_table=TRANSLATIONS,
            )  # fmt: skip
        assert program is not None
        session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
        (given,) = session.get_inputs()
        for shape in ((1, 1, 5), (2, 9, 5), (17, 3, 5)):
            x = torch.randn(shape)
            (found,) = session.run(None, {given.name: x.numpy()})
            np.testing.assert_allclose(found, network(x).detach().numpy(), atol=2e-5, rtol=1e-5)


def test_a_network_without_such_layers_is_left_alone_and_one_with_them_copied() -> None:
    plain = nn.Sequential(nn.Linear(2, 2))
    assert exportable(plain) is plain
    network = nn.Sequential(nn.LSTM(5, 6), nn.Identity())
    assert isinstance(exportable(network)[0], RecurrentLayers)
    assert isinstance(network[0], nn.LSTM)
    assert isinstance(
        exportable(nn.Sequential(nn.LSTM(5, 6, proj_size=2)))[0], nn.LSTM
    )  # ONNX's LSTM has no such thing
