"""A decoder's graph: one for a prompt and for going on from it, in f32 and in int8, whatever lengths and rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bedplate.bundle.session import OnnxPredict
from bedplate.compression import methods
from bedplate.core.arrays import Predict
from bedplate.core.errors import GateError
from bedplate.core.machine import cpu_features
from bedplate.export import export_network
from bedplate.export.stepwise import check_steps
from bedplate.generation.decoder import Decoder
from bedplate.models import Network, Outputs, TextInput, build, predictor

VOCABULARY, LENGTH = 40, 20


def tokens(rows: int, length: int = LENGTH, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(2, VOCABULARY, (rows, length)).astype(np.int32)


@pytest.fixture(scope="module")
def network() -> Network:
    arguments = {"size": 32, "heads": 2, "layers": 2}
    network = build(
        "transformer-decoder", arguments, TextInput(VOCABULARY, LENGTH), Outputs(VOCABULARY, sequence=True), 0
    )
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return network.eval()


@pytest.fixture(scope="module")
def made(network: Network) -> tuple[Predict, dict[str, OnnxPredict]]:
    model = export_network(network, {"tokens": tokens(3)})
    graphs = {"f32": model}
    for name in ("int8-dynamic", "int8-weights"):
        graphs[name] = methods.get(name)(model, {"tokens": tokens(8)}, cpu_features())
    return predictor(network), {
        name: OnnxPredict(graph.SerializeToString(), variant=name, threads=1) for name, graph in graphs.items()
    }


@pytest.mark.parametrize("length", [1, 7, LENGTH])
@pytest.mark.parametrize("rows", [1, 3, 17])
def test_the_graph_answers_as_the_network_at_every_length_and_size(
    made: tuple[Predict, dict[str, OnnxPredict]], length: int, rows: int
) -> None:
    predict, exported = made
    text = tokens(rows, length)
    wanted = predict({"tokens": text})["logits"]
    assert wanted.shape == (rows, length, VOCABULARY)
    np.testing.assert_allclose(exported["f32"]({"tokens": text})["logits"], wanted, rtol=1e-3, atol=1e-4)
    for name in ("int8-dynamic", "int8-weights"):
        given = exported[name]({"tokens": text})["logits"]
        assert np.corrcoef(given.ravel(), wanted.ravel())[0, 1] > 0.995, name


@pytest.mark.parametrize(("name", "near"), [("f32", 1e-4), ("int8-weights", 1e-4)])
@pytest.mark.parametrize("rows", [1, 3, 17])
def test_scores_with_the_cache_are_those_without(
    made: tuple[Predict, dict[str, OnnxPredict]], name: str, near: float, rows: int
) -> None:
    exported = made[1][name]
    text, decoding = tokens(rows, seed=5), Decoder(exported.step, exported.past, LENGTH)
    wanted = exported({"tokens": text})["logits"]
    begun = [1 + row % 7 for row in range(rows)]
    found = decoding.join([text[row, :size].tolist() for row, size in enumerate(begun)])
    for step in range(LENGTH - max(begun)):
        for row, size in enumerate(begun):
            np.testing.assert_allclose(found[row, 2:], wanted[row, size + step - 1, 2:], rtol=1e-3, atol=near)
        found = decoding.advance(text[np.arange(rows), [size + step for size in begun]])


def test_int8_activations_go_on_nearly_as_they_would_at_once(made: tuple[Predict, dict[str, OnnxPredict]]) -> None:
    # One scale for all activations of a call: other tokens beside it move a score by a step of it.
    exported = made[1]["int8-dynamic"]
    text, decoding = tokens(1, seed=5), Decoder(exported.step, exported.past, LENGTH)
    wanted, found = exported({"tokens": text})["logits"][0], decoding.join([text[0, :4].tolist()])
    for place in range(4, LENGTH):
        assert np.corrcoef(found[0, 2:], wanted[place - 1, 2:])[0, 1] > 0.99
        found = decoding.advance(text[:, place])


def test_a_graph_that_forgets_its_past_is_refused(
    network: Network, made: tuple[Predict, dict[str, OnnxPredict]]
) -> None:
    exported = made[1]
    assert check_steps(network, exported["f32"], tokens(3)) < 1e-3

    class Forgetful(OnnxPredict):
        def __init__(self) -> None:
            self.past = exported["f32"].past

        def step(self, inputs: object, names: object = ()) -> dict[str, np.ndarray]:
            assert isinstance(inputs, dict)
            return exported["f32"].step({"tokens": inputs["tokens"]})

    with pytest.raises(GateError, match="doesn't go on as the network does"):
        check_steps(network, Forgetful(), tokens(3))
