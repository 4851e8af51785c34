"""Models: sizes as published, layers as their equations say, baselines as scikit-learn has them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from bedplate.core.errors import InputError
from bedplate.models import (
    Encoder,
    ImageInput,
    Outputs,
    SeriesInput,
    TableInput,
    TextInput,
    build,
    models,
    predictor,
)
from bedplate.models.baselines import IMAGE_ROWS, constant, fit_baselines
from bedplate.models.layers import PiecewiseLinear

MNIST = ImageInput(28, 28, 1, (33.0,), (78.0,))


def size(name: str, inputs: ImageInput | TableInput, **arguments: object) -> int:
    return sum(p.numel() for p in build(name, arguments, inputs, Outputs(10), 0).parameters())


def test_the_classic_cnn_has_its_published_size() -> None:
    # 3×3 convolutions 32-64-64, dense 64: 320 + 18,496 + 36,928 + 36,928 + 650 (Chollet 2017, section 5.1).
    assert size("cnn", MNIST) == 93_322


def test_resnet20_has_its_published_size() -> None:
    # He et al. 2016, table 6: 0.27 million parameters at 20 layers, 0.85 million at 56.
    colour = ImageInput(32, 32, 3, (120.0,) * 3, (60.0,) * 3)
    assert 0.265e6 < size("resnet", colour) < 0.275e6
    assert 0.84e6 < size("resnet", colour, depth=56) < 0.86e6
    with pytest.raises(InputError, match="the nearest is 20"):
        build("resnet", {"depth": 21}, colour, Outputs(10), 0)


def test_linear_is_the_affine_map() -> None:
    network = build("linear", {}, TableInput(2, (3,), ((), ())), Outputs(2), 0)
    with torch.no_grad():
        network.body.head.weight.copy_(torch.arange(10.0).reshape(2, 5))
        network.body.head.bias.copy_(torch.tensor([1.0, -1.0]))
    raw = network(torch.tensor([[2.0, 3.0]]), torch.tensor([[1]]))
    # columns: two numbers, then one-hot of three categories
    assert raw.tolist() == [[0 * 2 + 1 * 3 + 3 + 1, 5 * 2 + 6 * 3 + 8 - 1]]


def test_piecewise_linear_follows_its_equation() -> None:
    layer = PiecewiseLinear([[0.0, 1.0, 3.0], [], [-1.0, 1.0]])
    found = layer(torch.tensor([[2.0, 9.0, 0.0], [-0.5, 0.0, 5.0], [4.0, 0.0, -9.0]]))
    assert found.tolist() == [[1.0, 0.5, 0.5], [-0.5, 0.0, 2.0], [1.0, 1.5, -1.0]]


def test_images_are_standardised_inside_the_network() -> None:
    network = build("linear", {}, ImageInput(2, 2, 1, (100.0,), (50.0,)), Outputs(2), 0)
    with torch.no_grad():
        network.body.head.weight.fill_(1.0)
    assert network(torch.full((1, 2, 2, 1), 150, dtype=torch.uint8)).tolist() == [[4.0, 4.0]]


def test_a_number_comes_back_in_its_own_units() -> None:
    network = build("linear", {}, TableInput(1, (), ((),)), Outputs(None, 10.0, 2.0), 0)
    with torch.no_grad():
        network.body.head.weight.fill_(3.0)
    assert predictor(network)({"numeric": np.array([[1.0]], np.float32)})["value"].tolist() == [16.0]


@pytest.mark.parametrize("name", ["cnn", "resnet"])
def test_image_models_refuse_tables(name: str) -> None:
    with pytest.raises(InputError, match="for images"):
        build(name, {}, TableInput(2, (), ((), ())), Outputs(2), 0)


def test_a_perceptron_refuses_a_number() -> None:
    with pytest.raises(InputError, match="separates classes"):
        build("perceptron", {}, TableInput(2, (), ((), ())), Outputs(None), 0)


TEXTS = TextInput(50, 9)


def test_a_bag_is_the_mean_of_its_tokens_and_pairs() -> None:
    network = build("bag", {"size": 3, "pairs": 7, "dropout": 0.0}, TEXTS, Outputs(2), 0).eval()
    bag = network.body
    tokens = torch.tensor([[5, 2, 9, 0, 0], [4, 0, 0, 0, 0], [0, 0, 0, 0, 0]], dtype=torch.int32)
    single, pairs = bag.tokens.weight.detach(), bag.pairs.weight.detach()
    mean = (single[5] + single[2] + single[9]) / 3
    both = (pairs[(5 * bag.step + 2) % 7] + pairs[(2 * bag.step + 9) % 7]) / 2
    expected = torch.stack([torch.cat([mean, both]), torch.cat([single[4], torch.zeros(3)]), torch.zeros(6)])
    torch.testing.assert_close(network(tokens), bag.head(expected))


def test_pairs_are_numbered_as_float32_can_count() -> None:
    for vocabulary in (2, 300, 30_000, 1_000_000):
        step = build("bag", {"size": 1, "pairs": 3}, TextInput(vocabulary, 4), Outputs(2), 0).body.step
        assert step % 2 == 1
        assert step > 0
        assert (vocabulary - 1) * step + vocabulary - 1 < 2**24


def test_a_text_cnn_answers_with_each_filters_maximum() -> None:
    network = build("text-cnn", {"size": 4, "filters": 2, "lengths": [1, 3]}, TEXTS, Outputs(2), 0).eval()
    tokens = torch.tensor([[5, 2, 9, 7]], dtype=torch.int32)
    vectors = torch.cat([network.body.tokens.weight[tokens[0].long()], torch.zeros(3, 4)])
    found = []
    for layer in network.body.filters:
        reach = layer.weight.shape[2]
        windows = [
            torch.einsum("oik,ki->o", layer.weight, vectors[k : k + reach]) + layer.bias for k in range(8 - reach)
        ]
        found.append(torch.relu(torch.stack(windows)).amax(0))
    torch.testing.assert_close(network(tokens)[0], network.body.head(torch.cat(found)))


@pytest.mark.parametrize("name", ["bag", "text-cnn"])
def test_models_of_texts_refuse_images_and_others_refuse_texts(name: str) -> None:
    with pytest.raises(InputError, match="for texts"):
        build(name, {}, MNIST, Outputs(2), 0)
    for other in ("cnn", "resnet", "mlp", "linear"):
        with pytest.raises(InputError, match="bag"):
            build(other, {}, TEXTS, Outputs(2), 0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"widht": 3}, "unknown argument 'widht'"),
        ({"widths": "wide"}, "widths"),
        ({"dropout": 1.5}, "dropout"),
        ({"activation": "rellu"}, "activation"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        build("cnn", arguments, MNIST, Outputs(10), 0)


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu", "gelu"])
def test_activations_batch_norm_and_dropout_are_arguments(activation: str) -> None:
    network = build(
        "cnn", {"activation": activation, "batch_norm": True, "dropout": 0.3, "widths": [4, 8]}, MNIST, Outputs(10), 0
    )
    kinds = {type(module).__name__.lower() for module in network.modules()}
    assert {activation, "batchnorm2d", "dropout"} <= kinds
    assert network(torch.zeros(2, 28, 28, 1, dtype=torch.uint8)).shape == (2, 10)


def test_a_too_small_image_says_what_to_do() -> None:
    with pytest.raises(InputError, match="padding: same"):
        build("cnn", {"padding": "valid"}, ImageInput(4, 4, 1, (0.0,), (1.0,)), Outputs(2), 0)


def test_baselines_are_scikit_learns() -> None:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(200, 3)).astype(np.float32)
    y = (x[:, 0] > 0.3).astype(np.int64)
    found = fit_baselines({"numeric": x}, y, {"kind": "table", "categories": []}, 2, 0)
    assert set(found) == {"majority", "logistic regression", "gradient boosting"}
    expected = LogisticRegression(max_iter=1000).fit(x, y).predict_proba(x)
    np.testing.assert_allclose(found["logistic regression"]({"numeric": x})["probabilities"], expected, atol=1e-5)
    shares = found["majority"]({"numeric": x})["probabilities"]
    assert shares.shape == (200, 2)
    np.testing.assert_allclose(shares[0], [1 - y.mean(), y.mean()], rtol=1e-5)


def test_the_image_baseline_is_limited_and_labelled_so() -> None:
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (IMAGE_ROWS + 50, 3, 3, 1), dtype=np.uint8)
    found = fit_baselines({"image": images}, (images[:, 0, 0, 0] > 128).astype(np.int64), {"kind": "image"}, 2, 0)
    assert "logistic regression (5,000 rows)" in found


def test_the_mean_baseline_answers_the_mean() -> None:
    predict = constant(np.array([1.0, 2.0, 6.0]), None)
    assert predict({"numeric": np.zeros((2, 1))})["value"].tolist() == [3.0, 3.0]


def test_a_calendar_adds_nothing_before_training_and_is_refused_where_it_is_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outputs = Outputs(None, (3.0,), (2.0,), shape=(4, 1))
    plain, dated = (SeriesInput(12, 1, (3.0,), (2.0,), features) for features in (0, 6))
    draw = np.random.default_rng(0)
    history, calendar = (draw.normal(size=shape).astype(np.float32) for shape in ((5, 12, 1), (5, 6)))
    one, other = (predictor(build("dlinear", {}, inputs, outputs, 0)) for inputs in (plain, dated))
    np.testing.assert_array_equal(
        one({"history": history})["forecast"], other({"history": history, "calendar": calendar})["forecast"]
    )
    network = build("dlinear", {}, dated, outputs, 0)
    with torch.no_grad():
        network.body.calendar.weight[2, 1] = 0.5
    moved = predictor(network)({"history": history, "calendar": calendar})["forecast"]
    change = moved - one({"history": history})["forecast"]
    np.testing.assert_allclose(change[:, 2, 0], 2.0 * 0.5 * calendar[:, 1], rtol=1e-4, atol=1e-6)
    assert not change[:, [0, 1, 3]].any()

    class Last(torch.nn.Module):
        def forward(self, history: torch.Tensor) -> torch.Tensor:
            return history[:, -1:, 0].repeat(1, 4)

    monkeypatch.setitem(models._parts, "last-step", lambda inputs, outputs: Last())
    with pytest.raises(InputError, match=r"reads no calendar.*data\.series\.calendar"):
        build("last-step", {}, dated, outputs, 0)
    build("last-step", {}, plain, outputs, 0)


def test_a_transformers_answer_is_of_its_tokens_states() -> None:
    sizes: dict[str, object] = {"size": 8, "heads": 2, "layers": 1}
    body = build("transformer-encoder", sizes, TextInput(30, 6), Outputs(3), 0).eval().body
    assert isinstance(body, Encoder)
    tokens = torch.tensor([[5, 9, 2, 0], [7, 0, 0, 0]], dtype=torch.int32)
    with torch.no_grad():
        states, longer = body.states(tokens), body.states(torch.nn.functional.pad(tokens, (0, 2)))
        assert states.shape == (2, 4, 8)
        torch.testing.assert_close(longer[0, :3], states[0, :3])
        means = torch.stack([states[0, :3].mean(0), states[1, 0]])
        torch.testing.assert_close(body(tokens), body.head(means))
    assert body.vectors is body.tokens.weight
    assert not isinstance(build("bag", {}, TextInput(30, 6), Outputs(3), 0).body, Encoder)
