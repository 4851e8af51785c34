"""Mixed precision by sensitivity: int8 where it does no harm, float where it does.

Each layer is quantised alone, and how far the answers move is its sensitivity. Then the most sensitive layers go back
to float, fewest first, until what came out will do. The ranges are measured once for all of it.

That a layer's own sensitivity decides its bits: Yao et al. 2021, "HAWQ-V3: Dyadic Neural Network Quantization" (there
by the Hessian and an integer programme). That the worst layers are restored until the drop holds: NNCF's quantisation
with accuracy control (Kozlov et al. 2020, "Neural Network Compression Framework for fast model inference").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx

from bedplate.bundle.session import OnnxPredict
from bedplate.compression.calibration import Calibration
from bedplate.compression.divergence import divergence
from bedplate.compression.int8_static import Calibrated, calibrate, quantise
from bedplate.compression.registry import methods
from bedplate.core.arrays import Arrays, predict_in_batches

LIMIT = 1e-3
"""The mean divergence (nats, or share of the variance) that `int8-mixed` allows on the calibration rows."""


def answers(model: onnx.ModelProto, features: Arrays) -> np.ndarray:
    """Return the graph's first output on these rows."""
    (output, *_) = predict_in_batches(OnnxPredict(model.SerializeToString(), variant="f32"), features).values()
    return np.asarray(output)


def layer_sensitivity(
    model: onnx.ModelProto, features: Arrays, cpu: frozenset[str], *, calibration: Calibration = "minmax"
) -> dict[str, float]:
    """Return by how much the answers move (`divergence`) where one layer alone is quantised, by the layer's name.

    Args:
        model: in float.
        features: calibration rows, a few hundred; they are answered once a layer.
        cpu: the features of the processor that it is for.
        calibration: how the ranges are found.
    """
    return _sensitivity(calibrate(model, features, calibration), answers(model, features), features, cpu)


def _sensitivity(calibrated: Calibrated, before: np.ndarray, features: Arrays, cpu: frozenset[str]) -> dict[str, float]:
    return {
        name: divergence(before, answers(quantise(calibrated, cpu, only=name), features)) for name in calibrated.layers
    }


def mixed_precision(
    model: onnx.ModelProto,
    features: Arrays,
    cpu: frozenset[str],
    sensitivity: Mapping[str, float],
    acceptable: Callable[[onnx.ModelProto], bool],
    *,
    calibration: Calibration = "minmax",
) -> onnx.ModelProto | None:
    """Return the graph with as few of the most sensitive layers in float as `acceptable` asks for.

    None where even one layer in int8 is not acceptable.

    Args:
        model: in float.
        features: calibration rows.
        cpu: the features of the processor that it is for.
        sensitivity: by layer, as `layer_sensitivity` gives it.
        acceptable: told of each graph in turn, from all layers in int8 on; asked once a graph.
        calibration: how the ranges are found.
    """
    return _restored(calibrate(model, features, calibration), cpu, sensitivity, acceptable)


def _restored(
    calibrated: Calibrated,
    cpu: frozenset[str],
    sensitivity: Mapping[str, float],
    acceptable: Callable[[onnx.ModelProto], bool],
) -> onnx.ModelProto | None:
    worst_first = sorted(calibrated.layers, key=lambda name: (-sensitivity[name], name))
    for kept in range(len(worst_first)):
        found = quantise(calibrated, cpu, keep=worst_first[:kept])
        if acceptable(found):
            return found
    return None


@methods.register("int8-mixed")
def int8_mixed(model: onnx.ModelProto, features: Arrays, cpu: frozenset[str]) -> onnx.ModelProto:
    """Return the graph in int8 but for those layers without which the answers' mean divergence is above `LIMIT`.

    The graph as it was, where no layer can be quantised so gently.
    """
    calibrated, before = calibrate(model, features), answers(model, features)
    found = _restored(
        calibrated, cpu, _sensitivity(calibrated, before, features, cpu),
        lambda graph: divergence(before, answers(graph, features)) <= LIMIT,
    )  # fmt: skip
    return onnx.ModelProto.FromString(model.SerializeToString()) if found is None else found
