"""The network: a registered module with its normalisation before it and the answer's form after it.

Everything from the codec's features to the answer is inside, so what is trained is what is exported.
"""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bedplate.core.arrays import Arrays, Predict, by_length
from bedplate.core.errors import InputError
from bedplate.models.registry import PADDED, ImageInput, Inputs, Outputs, SeriesInput, Stepwise, TextInput, models
from bedplate.models.text_layers import known


class Network(nn.Module):
    """Features in, raw scores out: `forward` takes the tensors of `inputs.names` in order.

    Images come as uint8 [rows, height, width, channels]; the module sees float [rows, channels, height, width].
    """

    mean: Tensor
    std: Tensor
    shift: Tensor
    """Added to a forecast's standardised quantiles [columns, levels]: what calibration finds, 0 until then."""

    memory_format: torch.memory_format | None = None
    """How images are laid out for the module; None: as they come (NHWC in memory)."""

    def __init__(self, body: nn.Module, inputs: Inputs, outputs: Outputs) -> None:
        super().__init__()
        self.body, self.inputs, self.outputs = body, inputs, outputs
        if isinstance(inputs, ImageInput | SeriesInput):
            shape = (1, inputs.channels, 1, 1) if isinstance(inputs, ImageInput) else (1, 1, inputs.columns)
            self.register_buffer("mean", torch.tensor(inputs.mean, dtype=torch.float32).reshape(shape))
            self.register_buffer("std", torch.tensor(inputs.std, dtype=torch.float32).reshape(shape))
        if outputs.levels:
            self.register_buffer("shift", torch.zeros(outputs.shape[-1], len(outputs.levels)))
            self.register_load_state_dict_pre_hook(_with_shift)  # type: ignore[no-untyped-call]

    def forward(self, *features: Tensor) -> Tensor:
        """Return logits or standardised targets.

        [rows, classes], [rows, words, tags], [rows, 1], or [rows, steps · columns (· levels)].
        """
        if isinstance(self.inputs, SeriesInput):
            return self.by_level(self.scores(self.body((features[0] - self.mean) / self.std, *features[1:])))
        if isinstance(self.inputs, ImageInput):
            planes = features[0].permute(0, 3, 1, 2)
            if self.memory_format is torch.contiguous_format and self.inputs.channels == 1:
                # One channel lies in memory alike both ways; only the strides tell a convolution which one is meant.
                planes = features[0].reshape(len(planes), 1, self.inputs.height, self.inputs.width)
            image = (planes.to(torch.float32) - self.mean) / self.std
            if self.memory_format is not None:
                image = image.contiguous(memory_format=self.memory_format)
            return self.scores(self.body(image))
        return self.scores(self.body(**dict(zip(self.inputs.names, features, strict=True))))

    def by_level(self, raw: Tensor) -> Tensor:
        """Put a column's quantiles side by side, in rising order: two that cross would mean nothing."""
        if not self.outputs.levels:
            return raw
        steps, columns = self.outputs.shape
        apart = raw.reshape(-1, steps, len(self.outputs.levels), columns).transpose(2, 3)
        return rising(apart + self.shift).flatten(1)

    def scores(self, raw: Tensor) -> Tensor:
        """Check the shape that the module returned."""
        axes = "[rows, length" if self.outputs.sequence else "[rows, words" if self.outputs.tags else "[rows"
        if raw.ndim != axes.count(",") + 2 or raw.shape[-1] != self.outputs.width:
            raise InputError(
                "the model returns the wrong shape",
                where=f"{type(self.body).__name__}.forward",
                expected=f"{axes}, {self.outputs.width}]",
                received=str(list(raw.shape)),
            )
        return raw if raw.dtype == torch.float32 else raw.float()  # losses are computed in full precision

    def answer(self, raw: Tensor, tokens: Tensor) -> Tensor:
        """Turn raw scores into the graph's output.

        Probabilities [rows, classes], [rows, labels] or [rows, words, tags] (0 where `tokens`, the first feature, is
        padding), vectors [rows, width], values [rows], a forecast, or the scores at every token.
        """
        outputs = self.outputs
        if outputs.sequence:
            return raw
        if outputs.tags:
            return torch.softmax(raw, dim=2) * known(tokens)[:, :, None]
        if outputs.classes:
            return torch.softmax(raw, dim=1)
        if outputs.many:
            return torch.sigmoid(raw)
        if outputs.vector:
            return functional.normalize(raw, dim=1) if outputs.normalise else raw
        if outputs.shape:
            mean, std = (torch.tensor(one, dtype=raw.dtype, device=raw.device) for one in (outputs.mean, outputs.std))
            if outputs.levels:
                return raw.reshape(-1, *outputs.shape, len(outputs.levels)) * std[:, None] + mean[:, None]
            return raw.reshape(-1, *outputs.shape) * std + mean
        assert not isinstance(outputs.std, tuple)
        assert not isinstance(outputs.mean, tuple)
        return raw[:, 0] * outputs.std + outputs.mean


def _with_shift(network: Network, weights: dict[str, Any], prefix: str, *_: Any) -> None:
    """Take quantiles that were sealed before there was a shift as they are."""
    weights.setdefault(f"{prefix}shift", torch.zeros_like(network.shift))


def rising(quantiles: Tensor) -> Tensor:
    """Return numbers [..., levels] of which none is below the one before it, the middle one as it was.

    From the middle outwards, so that the median is learnt as if it were alone. Where one is lifted to its neighbour it
    still has its own gradient: given to the neighbour, it would lie there for ever, and no width would be learnt.
    """
    parts = list(quantiles.unbind(-1))
    middle = len(parts) // 2
    for k in range(middle + 1, len(parts)):
        parts[k] = _own_gradient(torch.maximum(parts[k], parts[k - 1]), parts[k])
    for k in range(middle - 1, -1, -1):
        parts[k] = _own_gradient(torch.minimum(parts[k], parts[k + 1]), parts[k])
    return torch.stack(parts, dim=-1)


def _own_gradient(moved: Tensor, own: Tensor) -> Tensor:
    """Return `moved`, whose gradient is `own`'s (a straight-through estimator: Bengio et al. 2013, section 2)."""
    return own + (moved - own).detach() if own.requires_grad else moved


class Answering(nn.Module):
    """The network with its answer's form: what is exported. Takes and gives tensors only."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, *features: Tensor) -> Tensor:
        """Return probabilities [rows, classes] or [rows, words, tags], values [rows], or a forecast."""
        return self.network.answer(self.network(*features), features[0])


def build(name: str, arguments: dict[str, Any], inputs: Inputs, outputs: Outputs, seed: int) -> Network:
    """Return a freshly initialised network of registered model `name`.

    Raises:
        InputError: unknown name or argument, or features that the model isn't made for.
    """
    problems = models.problems(name, arguments, "model")
    if problems:
        raise problems[0]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        body = models.get(name)(inputs, outputs, **arguments)
    if isinstance(inputs, SeriesInput) and inputs.calendar and len(inspect.signature(body.forward).parameters) < 2:
        raise InputError(
            f"model '{name}' reads no calendar", where=f"{type(body).__name__}.forward",
            expected="history and calendar, tensors [rows, steps, columns] and [rows, features]",
            hint="leave out data.series.calendar, or choose `dlinear` or `tcn`",
        )  # fmt: skip
    if outputs.sequence != isinstance(body, Stepwise):
        raise InputError(
            f"model '{name}' says what comes next" if isinstance(body, Stepwise)
            else f"model '{name}' gives a text one answer, not one at every token",
            where="model.name", hint=f"`transformer-{'decoder' if outputs.sequence else 'encoder'}` does",
        )  # fmt: skip
    return Network(body, inputs, outputs)


def to_tensors(network: Network, features: Arrays) -> list[Tensor]:
    """Return the features that the network takes, in its order, sharing memory where possible."""
    arrays = [np.ascontiguousarray(features[name]) for name in network.inputs.names]
    return [torch.from_numpy(array if array.flags.writeable else array.copy()) for array in arrays]


def shortened(inputs: Inputs, features: Arrays) -> Arrays:
    """Return features without the columns that are padding in every row; one column is left in any case."""
    if not isinstance(inputs, PADDED):
        return features
    used = np.flatnonzero((features[inputs.names[0]] != 0).any(axis=0))  # zeros in between are the rows' own
    width = int(used[-1]) + 1 if len(used) else 1
    return {name: array[:, :width] for name, array in features.items()}


def predictor(network: Network) -> Predict:
    """Return the network as a `Predict` over features, in evaluation mode."""
    answering = Answering(network)
    output = network.outputs.name

    def run(features: Arrays) -> Arrays:
        return {output: answering(*to_tensors(network, features)).numpy()}

    def predict(features: Arrays) -> Arrays:
        training = network.training
        network.eval()
        try:
            with torch.inference_mode():
                if network.outputs.sequence:  # scores stand at every token, the padding's as well
                    return run(features)
                features = shortened(network.inputs, features)
                texts = isinstance(network.inputs, TextInput)
                return by_length(run, features, network.inputs.names[0]) if texts else run(features)
        finally:
            network.train(training)

    return predict
