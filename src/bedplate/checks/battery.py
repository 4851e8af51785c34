"""The conformance battery: what every registered model and objective must do. Plug-ins are held to the same.

A model must build for the inputs it takes, return the right shape, be deterministic by its seed, give finite gradients
to its parameters, answer a row alike whatever the batch, and export to ONNX with parity. An objective must return a
finite scalar `loss` with a gradient, and training with it must lower it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from bedplate.bundle.session import OnnxPredict
from bedplate.codecs.codec import SEPARATOR, TOKENS
from bedplate.codecs.tags import TagSet
from bedplate.compression import methods
from bedplate.compression.measure import batch_dependence
from bedplate.core.arrays import Arrays, concatenate, take
from bedplate.core.errors import BedplateError, InputError
from bedplate.core.machine import cpu_features
from bedplate.core.registry import Registry
from bedplate.export import check_parity, export_network
from bedplate.export.stepwise import check_steps
from bedplate.models import (
    PADDED,
    ImageInput,
    Inputs,
    Network,
    Outputs,
    SentenceInput,
    SeriesInput,
    TableInput,
    TextInput,
    build,
    models,
    predictor,
    to_tensors,
)
from bedplate.objectives import objectives
from bedplate.recipe.schema import Part
from bedplate.training import augments, weights_digest
from bedplate.training.augment import bind, kind_of

ROWS = 12
_EDGES = tuple(np.linspace(-2, 2, 9).tolist())
SAMPLES: dict[str, Inputs] = {
    "grey images": ImageInput(28, 28, 1, (33.0,), (78.0,)),
    "colour images": ImageInput(32, 32, 3, (120.0,) * 3, (60.0,) * 3),
    "a table": TableInput(3, (5, 9), (_EDGES, _EDGES, ())),
    "a table of numbers": TableInput(4, (), (_EDGES,) * 4),
    "a table of categories": TableInput(0, (4, 7), ()),
    "texts": TextInput(300, 12),
    "texts with answers": TextInput(300, 12, separator=SEPARATOR),
    "sentences": SentenceInput(300, 11, 40, 8),
    "series": SeriesInput(30, 2, (3.0, -50.0), (2.0, 10.0)),
}
OUTPUTS: dict[str, Outputs] = {"3 classes": Outputs(3), "a number": Outputs(None, 5.0, 2.0)}
VECTOR = Outputs(vector=6)
NEXT = Outputs(300, sequence=True)
LABELS = Outputs(counts=(3, 2, 4, 6), many=3)
TAGS = ("O", "B-PER", "I-PER")
TAGGED = Outputs(tags=TAGS, transitions=tuple(map(tuple, TagSet(TAGS).rules().tolist())))
FORECAST = Outputs(None, (3.0, -50.0), (2.0, 10.0), shape=(4, 2))


@dataclass(frozen=True)
class Result:
    """One check of one part."""

    part: str
    check: str
    ok: bool
    message: str = ""


def sample_features(inputs: Inputs, rows: int = ROWS, seed: int = 0) -> dict[str, np.ndarray]:
    """Return random features that fit `inputs`."""
    draw = np.random.default_rng(seed)
    if isinstance(inputs, ImageInput):
        return {"image": draw.integers(0, 256, (rows, inputs.height, inputs.width, inputs.channels), dtype=np.uint8)}
    if isinstance(inputs, PADDED):
        longest = inputs.length if isinstance(inputs, TextInput) else 12
        tokens = draw.integers(1, inputs.vocabulary, (rows, longest)).astype(np.int32)
        there = np.arange(longest) < draw.integers(1, longest + 1, rows)[:, None]
        if isinstance(inputs, TextInput):
            tokens = np.where(there, tokens, 0)
            if inputs.separator is not None:  # once in every row
                tokens = np.where(tokens == inputs.separator, inputs.separator + 1, tokens)
                tokens[np.arange(rows), draw.integers(0, there.sum(axis=1))] = inputs.separator
            return {"tokens": tokens.astype(np.int32)}
        there[0] = True
        shapes = draw.integers(1, inputs.shapes, there.shape).astype(np.int32)
        letters = draw.integers(1, inputs.alphabet, (*there.shape, inputs.letters)).astype(np.uint8)
        return {"tokens": tokens * there, "shapes": shapes * there, "letters": letters * there[:, :, None]}
    if isinstance(inputs, SeriesInput):
        walk = draw.normal(size=(rows, inputs.length, inputs.columns)).cumsum(axis=1)
        return {"history": (walk * inputs.std + inputs.mean).astype(np.float32)}
    found: dict[str, np.ndarray] = {}
    if inputs.numeric:
        found["numeric"] = draw.normal(size=(rows, inputs.numeric)).astype(np.float32)
    if inputs.categories:
        found["categories"] = np.stack([draw.integers(0, n, rows) for n in inputs.categories], axis=1)
    return found


def sample_targets(outputs: Outputs, rows: int = ROWS) -> torch.Tensor:
    """Return targets for `outputs`: each class in turn (of vectors, three), labels, tags or standardised values."""
    if outputs.vector:
        return torch.arange(rows) % 3
    if outputs.many:
        return (torch.arange(rows * outputs.many) % 2).reshape(rows, outputs.many).to(torch.float32)
    if outputs.tags:
        return (torch.arange(rows * 12) % 2).reshape(rows, 12).to(torch.int16)
    if outputs.shape:
        return torch.linspace(-1, 1, rows * math.prod(outputs.shape)).reshape(rows, *outputs.shape)
    return torch.arange(rows) % outputs.classes if outputs.classes else torch.linspace(-1, 1, rows)


def _check(part: str, name: str, body: Callable[[], str | None]) -> Result:
    try:
        problem = body()
    except BedplateError as error:
        return Result(part, name, False, error.message)
    except Exception as error:  # noqa: BLE001 - whatever a plug-in raises is its failure, and is shown
        return Result(part, name, False, f"{type(error).__name__}: {error}")
    return Result(part, name, problem is None, problem or "")


def _gradients(network: Network, features: Arrays) -> str | None:
    network.train()
    raw = network(*to_tensors(network, features))
    # A random direction: a plain sum of a symmetric output layer could cancel.
    (raw * torch.linspace(-1, 1, raw.numel()).reshape(raw.shape)).sum().backward()
    missing = [name for name, p in network.named_parameters() if p.requires_grad and p.grad is None]
    broken = [name for name, p in network.named_parameters() if p.grad is not None and not torch.isfinite(p.grad).all()]
    if missing:
        return f"no gradient reaches {', '.join(missing[:3])}"
    return f"the gradient of {', '.join(broken[:3])} is not finite" if broken else None


def _row_alone(network: Network, features: Arrays) -> str | None:
    predict = predictor(network)
    (together,) = predict(features).values()
    (alone,) = concatenate([predict(take(features, slice(i, i + 1))) for i in range(len(together))]).values()
    gap = float(np.abs(together - alone).max())
    return None if gap < 1e-4 else f"a row's answer changes by {gap:.2g} with the rows beside it"


_NOTHING = "it takes no images, tables, texts, sentences or series"


def check_model(name: str) -> Iterator[Result]:
    """Check one registered model on every kind of input that it takes."""
    taken = 0
    for input_name, inputs in SAMPLES.items():
        own = {
            SeriesInput: {"a forecast": FORECAST}, SentenceInput: {"tags": TAGGED},
            TextInput: {**OUTPUTS, "labels": LABELS, "a vector": VECTOR, "the next token": NEXT},
        }  # fmt: skip
        asked = own.get(type(inputs), OUTPUTS)
        for output_name, outputs in asked.items():
            results = _check_on(name, f"model {name} ({input_name}, {output_name})", inputs, outputs)
            taken += bool(results)
            yield from results
    if not taken:
        yield Result(f"model {name}", "takes some kind of input", False, _NOTHING)


def _check_on(name: str, part: str, inputs: Inputs, outputs: Outputs) -> list[Result]:
    """Check a model on one kind of input and output; nothing where it isn't made for them."""
    try:
        network = build(name, {}, inputs, outputs, 7)
    except InputError:
        return []  # the model says that it isn't made for this
    except Exception as error:  # noqa: BLE001 - whatever a plug-in raises is its failure, and is shown
        return [Result(part, "builds", False, f"{type(error).__name__}: {error}")]
    features = sample_features(inputs)
    shape = _check(part, "returns [rows, width] scores", partial(_shape, network, features))
    if not shape.ok:
        # A model made for the other kind of features need not say so.
        return [shape] if isinstance(inputs, _wants(name)) else []
    padding = (
        [_check(part, "padding changes nothing", partial(_padded, network, features))]
        if isinstance(inputs, PADDED) else []
    )  # fmt: skip
    return [
        shape,
        _check(part, "the seed decides the weights", partial(_seeded, name, inputs, outputs)),
        _check(part, "gradients reach every parameter", partial(_gradients, network, features)),
        _check(part, "a row's answer is its own", partial(_row_alone, network, features)),
        _check(part, "exports to ONNX with parity", partial(_exports, network, features)),
        *padding,
    ]


def _padded(network: Network, features: Arrays) -> str | None:
    predict = predictor(network)
    (before,) = predict(features).values()
    wide = {name: np.pad(array, [(0, 0), (0, 5), *[(0, 0)] * (array.ndim - 2)]) for name, array in features.items()}
    with torch.inference_mode():
        after = network.eval().answer(network(*to_tensors(network, wide)), torch.from_numpy(wide["tokens"])).numpy()
    if network.outputs.tags or network.outputs.sequence:  # what is filled up has scores, too, which nobody reads
        after = after[:, : before.shape[1]]
    gap = float(np.abs(before - after).max())
    return None if gap < 1e-4 else f"an answer changes by {gap:.2g} with what its row is filled up with"


def _wants(name: str) -> type:
    """Return the kind of features that a model runs on, tables last (so that failing on others is no fault)."""
    classes = OUTPUTS["3 classes"]
    tried = (
        ("grey images", classes), ("colour images", classes), ("texts", classes), ("texts", NEXT),
        ("sentences", TAGGED), ("series", FORECAST),
    )  # fmt: skip
    for sample, outputs in tried:
        inputs = SAMPLES[sample]
        try:
            network = build(name, {}, inputs, outputs, 7)
            network(*to_tensors(network, sample_features(inputs)))
        except Exception:  # noqa: BLE001, S112 - any failure means the same here: it doesn't run on these
            continue
        return type(inputs)
    return TableInput


def _shape(network: Network, features: Arrays) -> str | None:
    raw = network(*to_tensors(network, features))
    return None if torch.isfinite(raw).all() else "some scores are not finite"


def _seeded(name: str, inputs: Inputs, outputs: Outputs) -> str | None:
    first, second = (weights_digest(dict(build(name, {}, inputs, outputs, 7).state_dict())) for _ in range(2))
    return None if first == second else "the same seed gave other weights: draw only from torch's generator"


def _exports(network: Network, features: Arrays) -> str | None:
    network.eval()
    model = export_network(network, features)
    exported = OnnxPredict(model.SerializeToString(), variant="f32")
    check_parity(network, predictor(network), exported, features)
    if network.outputs.sequence:
        check_steps(network, exported, features[TOKENS][:3])
    return None


def check_objective(name: str) -> Iterator[Result]:
    """Check one registered objective with a linear model on the answers that it is for."""
    part = f"objective {name}"
    try:
        objective = objectives.get(name)()
    except Exception as error:  # noqa: BLE001
        yield Result(part, "is made with its defaults", False, f"{type(error).__name__}: {error}")
        return
    asked = OUTPUTS | {
        "a forecast": replace(FORECAST, levels=objective.levels), "a vector": VECTOR, "the next token": NEXT,
        "tags": TAGGED, "labels": LABELS,
    }  # fmt: skip
    kinds = {
        "classes": ["3 classes"], "number": ["a number"], "forecast": ["a forecast"], "vector": ["a vector"],
        "tokens": ["the next token"], "tags": ["tags"], "labels": ["labels"],
        "any": list(OUTPUTS),
    }  # fmt: skip
    for kind in kinds[objective.kind]:
        yield _check(f"{part} ({kind})", "training with it lowers it", partial(_lowers, objective, asked[kind]))


def _lowers(objective: Any, outputs: Outputs) -> str | None:
    name, sample = ("dlinear", "series") if outputs.shape else ("linear", "a table of numbers")
    if outputs.tags:
        name, sample = "bilstm-tagger", "sentences"
    if outputs.sequence:
        name, sample = "transformer-decoder", "texts"
    if outputs.many:
        name, sample = "bag", "texts"
    inputs = SAMPLES[sample]
    network = build(name, {}, inputs, outputs, 7)
    with torch.no_grad():
        for parameter in network.parameters() if not outputs.sequence else ():
            parameter.copy_(torch.linspace(-0.1, 0.1, parameter.numel()).reshape(parameter.shape))
    features, targets = to_tensors(network, sample_features(inputs)), sample_targets(outputs)
    if outputs.sequence:
        targets = (features[0] * 7 + 1).to(torch.int64) % outputs.width
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
    losses: list[float] = []
    for _ in range(30):
        for step in objective.steps:
            optimizer.zero_grad()
            found = step.loss(network, features, targets)
            if "loss" not in found or found["loss"].ndim:
                return "it must return a dict with a scalar `loss`"
            found["loss"].backward()
            optimizer.step()
        losses.append(found["loss"].item())
    if not np.isfinite(losses).all():
        return "the loss is not finite"
    return None if losses[-1] < losses[0] else f"30 steps moved it from {losses[0]:.4g} to {losses[-1]:.4g}"


def check_method(name: str) -> Iterator[Result]:
    """Check one registered compression method on a convolutional and a dense network."""
    for model, inputs in (("cnn", SAMPLES["grey images"]), ("mlp", SAMPLES["a table"])):
        network = build(model, {}, inputs, OUTPUTS["3 classes"], 7)
        features = sample_features(inputs, rows=32)
        yield _check(
            f"compression method {name} ({model})",
            "gives a graph that answers alike, row by row",
            partial(_near, name, network, features),
        )


def _near(name: str, network: Network, features: Arrays) -> str | None:
    model = export_network(network, features)
    before = model.SerializeToString()
    changed = methods.get(name)(model, features, cpu_features())
    if model.SerializeToString() != before:
        return "it changed the graph that it was given: work on a copy"
    small = OnnxPredict(changed.SerializeToString(), variant=name)
    gap = float(
        np.abs(small(features)["probabilities"] - OnnxPredict(before, variant="f32")(features)["probabilities"]).max()
    )
    mixed = batch_dependence(small, features, "probabilities")
    if gap > 0.25:
        return f"probabilities move by up to {gap:.2g}"
    return f"a row's answer changes by {mixed:.2g} with the rows beside it" if mixed > 1e-3 else None


def check_augment(name: str) -> Iterator[Result]:
    """Check one registered augmentation."""

    def body() -> str | None:
        inputs = SAMPLES["a table" if kind_of(augments.get(name)) == "table" else "colour images"]
        network = build("mlp", {"hidden": [4]}, inputs, OUTPUTS["3 classes"], 7)
        (augment,) = bind([Part(name=name)], network)
        given = to_tensors(network, sample_features(inputs))
        targets = sample_targets(network.outputs)
        one, two = (
            augment([tensor.clone() for tensor in given], targets, torch.Generator().manual_seed(1)) for _ in range(2)
        )
        for before, after in zip(given, one[0], strict=True):
            if after.shape != before.shape or after.dtype != before.dtype:
                return f"it turns {before.dtype} {list(before.shape)} into {after.dtype} {list(after.shape)}"
        if len(one[1]) != len(targets):
            return f"it turns {len(targets)} targets into {len(one[1])}"
        equal = all(torch.equal(a, b) for a, b in zip([*one[0], one[1]], [*two[0], two[1]], strict=True))
        return None if equal else "the same generator gave other rows: draw only from it"

    yield _check(f"augmentation {name}", "keeps shape and type, and draws from its generator", body)


CHECKS: dict[str, tuple[Registry[Any], Callable[[str], Iterator[Result]]]] = {
    "model": (models, check_model),
    "objective": (objectives, check_objective),
    "compression method": (methods, check_method),
    "augment": (augments, check_augment),
}


def check_all() -> Iterator[Result]:
    """Check every registered part that has checks."""
    for registry, check in CHECKS.values():
        for name in registry.names():
            yield from check(name)
