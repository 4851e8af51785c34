"""The network → LiteRT's `.tflite`, for phones and small boards. Needs `pip install "bedplate[litert]"`.

One row at a time: LiteRT's kernels plan their memory for the shapes in the file, and a free row axis is not reliable
there. int8 is LiteRT's own recommendation for CPUs, `dynamic_wi8_afp32`: int8 weights, activations quantised as they
come, no calibration rows.

https://github.com/google-ai-edge/litert-torch, https://github.com/google-ai-edge/ai-edge-quantizer
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from bedplate.core.arrays import Arrays, Predict, concatenate, count, take
from bedplate.core.errors import GateError
from bedplate.models import Answering, Network, to_tensors

FILE = "model.tflite"
TYPES = {"int64": "int32"}
"""What the converter makes of the types of a network's features."""


class _OneHotByComparing(TorchFunctionMode):
    """One-hot codes without torch's check of their range, a run-time assertion for which LiteRT has no operator."""

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        arguments: tuple[Any, ...] = (),
        named: Mapping[str, Any] | None = None,
    ) -> Any:
        if function is torch.nn.functional.one_hot:
            codes, classes = arguments
            return (codes[..., None] == torch.arange(classes)).to(torch.int64)
        return function(*arguments, **(named or {}))


class _Convertible(nn.Module):
    """The network with its answer's form, in operators that LiteRT has."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.answering = Answering(network)

    def forward(self, *features: Tensor) -> Tensor:
        with _OneHotByComparing():
            answer: Tensor = self.answering(*features)
            return answer


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the converter's progress off standard output, where `--json` speaks."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def to_litert(network: Network, features: Arrays, folder: Path, *, int8: bool = False) -> None:
    """Write `model.tflite`: one row of the network's features → its answer.

    Args:
        network: in evaluation mode.
        features: at least one row, as an example.
        folder: where the file goes.
        int8: quantise the weights of convolutions and dense layers.

    Raises:
        GateError: the converter can't express the model.
    """
    with _quiet():
        import litert_torch

    tensors = to_tensors(network, take(features, slice(0, 1)))
    try:
        with _quiet():
            converted = litert_torch.convert(_Convertible(network).eval(), tuple(tensors))
            converted.export(str(folder / FILE))
    except Exception as error:  # the converter lowers through four frameworks, each with errors of its own
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise GateError("the model can't be converted to LiteRT", received=lines[0][:300]) from error
    if int8:
        _quantise(folder / FILE)


def _quantise(file: Path) -> None:
    from ai_edge_quantizer import quantizer, recipe

    whole = file.with_name("float.tflite")
    file.rename(whole)
    try:
        with _quiet():
            made = quantizer.Quantizer(str(whole), recipe.dynamic_wi8_afp32()).quantize()
            made.export_model(str(file))
    finally:
        whole.unlink()


def litert_predictor(folder: Path, names: Sequence[str], output: str) -> Predict:
    """Return the model in a folder as a `Predict` over features, run row by row on one thread."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(folder / FILE), num_threads=1)
    interpreter.allocate_tensors()
    # The converter keeps the arguments' order, and names them `serving_default_args_0:0` and so on.
    places = sorted(interpreter.get_input_details(), key=lambda one: str(one["name"]))
    (answer,) = interpreter.get_output_details()

    def predict(features: Arrays) -> Arrays:
        total = count({name: features[name] for name in names})
        if total != 1:
            return concatenate([predict(take(features, slice(row, row + 1))) for row in range(total)])
        for name, place in zip(names, places, strict=True):
            interpreter.set_tensor(place["index"], np.ascontiguousarray(features[name], place["dtype"]))
        interpreter.invoke()
        return {output: np.array(interpreter.get_tensor(answer["index"]))}

    return predict


__all__ = ["FILE", "TYPES", "litert_predictor", "to_litert"]
