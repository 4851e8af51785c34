"""How long each layer takes on this machine: what an allocation under a time budget must know.

Multiplications tell little of time: a dense layer waits for its weights, a convolution of few channels fills no vector,
and small layers cost their call. So each layer is run alone, with the inputs that it sees in the network.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from bedplate.bundle.session import OnnxPredict
from bedplate.core.arrays import Arrays, Predict, take
from bedplate.models import Network, to_tensors

ROUNDS = 60
_OPSET, _IR = 20, 10


@torch.no_grad()
def layer_times(network: Network, features: Arrays) -> dict[str, float]:
    """Return by weight the microseconds that its convolution or dense layer takes for one row, on one thread.

    What a call costs by itself is taken off. Convolutions of one or three dimensions and padding by words are left out,
    as are layers that are called several times.

    Args:
        network: stays as it is; it runs in evaluation mode.
        features: a row or more.
    """
    seen: dict[str, Tensor | None] = {}
    hooks = []

    def look(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(_: nn.Module, given: tuple[Tensor, ...]) -> None:
            seen[name] = None if name in seen else given[0].detach()

        return hook

    for name, module in network.named_modules():
        if type(module) is nn.Linear or (type(module) is nn.Conv2d and not isinstance(module.padding, str)):
            hooks.append(module.register_forward_pre_hook(look(name)))
    training = network.training
    network.eval()
    try:
        network(*to_tensors(network, take(features, slice(0, 1))))
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    rows = {name: tensor.float().numpy() for name, tensor in seen.items() if tensor is not None}
    runs = {
        name: OnnxPredict(_alone(network.get_submodule(name), rows[name]), variant=name, threads=1) for name in rows
    }
    idle = OnnxPredict(_idle(), variant="idle", threads=1)
    times: dict[str, list[float]] = {name: [] for name in ["", *runs]}
    small = {"x": np.zeros((1, 1), np.float32)}
    for _ in range(ROUNDS):
        times[""].append(_timed(idle, small))
        for name, run in runs.items():
            times[name].append(_timed(run, {"x": rows[name]}))
    call = float(np.median(times.pop("")))
    return {f"{name}.weight": max(float(np.median(each)) - call, 0.0) for name, each in times.items()}


def _timed(predict: Predict, inputs: Arrays) -> float:
    begin = time.perf_counter()
    predict(inputs)
    return (time.perf_counter() - begin) * 1e6


def _alone(layer: nn.Module, x: np.ndarray) -> bytes:
    """Return a graph of one layer."""
    weight = numpy_helper.from_array(layer.get_parameter("weight").detach().float().numpy(), "w")
    if isinstance(layer, nn.Conv2d):
        assert not isinstance(layer.padding, str)
        node = helper.make_node(
            "Conv", ["x", "w"], ["y"], kernel_shape=layer.kernel_size, strides=layer.stride, dilations=layer.dilation,
            pads=[*layer.padding, *layer.padding], group=layer.groups,
        )  # fmt: skip
        return _graph([node], [weight], x.shape)
    if x.ndim == 2:
        return _graph([helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)], [weight], x.shape)
    turned = numpy_helper.from_array(np.ascontiguousarray(numpy_helper.to_array(weight).T), "w")
    return _graph([helper.make_node("MatMul", ["x", "w"], ["y"])], [turned], x.shape)


def _idle() -> bytes:
    return _graph([helper.make_node("Relu", ["x"], ["y"])], [], (1, 1))


def _graph(nodes: list[onnx.NodeProto], weights: list[TensorProto], shape: tuple[int, ...]) -> bytes:
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))
    taken = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "layer", [given], [taken], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
    found: bytes = model.SerializeToString()
    return found
