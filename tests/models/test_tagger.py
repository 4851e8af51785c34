"""A tagger reads each sentence by itself, both ways, and its words' letters; its baselines count."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bedplate.checks.battery import SAMPLES, TAGGED, sample_features
from bedplate.core.errors import InputError
from bedplate.models import Outputs, build, predictor, shortened, to_tensors
from bedplate.models.tag_baselines import fit_tag_baselines

INPUTS = SAMPLES["sentences"]


@pytest.mark.parametrize("arguments", [{}, {"cell": "gru", "layers": 2}, {"filters": 0}, {"shape": 0}])
def test_every_word_gets_scores_and_padding_none(arguments: dict[str, object]) -> None:
    network = build("bilstm-tagger", arguments, INPUTS, TAGGED, 0)
    features = sample_features(INPUTS)
    found = predictor(network)(features)["tag_probabilities"]
    there = features["tokens"] != 0
    np.testing.assert_allclose(found.sum(axis=2), there, atol=1e-6)


def test_a_word_is_read_with_what_stands_on_either_side_and_by_its_letters() -> None:
    network = build("bilstm-tagger", {}, INPUTS, TAGGED, 0)
    features = sample_features(INPUTS)
    before = predictor(network)(features)["tag_probabilities"]
    for name, place in (("tokens", 0), ("tokens", 11), ("letters", 0), ("shapes", 11)):
        changed = {key: array.copy() for key, array in features.items()}
        changed[name][0, place] = changed[name][0, place] % 7 + 1
        after = predictor(network)(changed)["tag_probabilities"]
        assert np.abs(after - before)[0, 5].max() > 0
        np.testing.assert_array_equal(after[1:], before[1:])


def test_training_hides_words_and_evaluation_none() -> None:
    network = build("bilstm-tagger", {"unknown": 0.9, "dropout": 0.0}, INPUTS, TAGGED, 0)
    features = to_tensors(network, sample_features(INPUTS))
    torch.manual_seed(0)
    first, second = network(*features), network(*features)
    assert not torch.equal(first, second)
    network.eval()
    assert torch.equal(network(*features), network(*features))


def test_features_lose_what_is_padding_in_every_row() -> None:
    features = {name: np.pad(array, [(0, 0), (0, 9), *[(0, 0)] * (array.ndim - 2)])
                for name, array in sample_features(INPUTS).items()}  # fmt: skip
    assert shortened(INPUTS, features)["letters"].shape[1] == 12
    assert shortened(SAMPLES["series"], {"history": np.zeros((1, 2, 3))})["history"].shape == (1, 2, 3)


def test_it_tags_words_and_nothing_else() -> None:
    with pytest.raises(InputError, match="task: token-classification"):
        build("bilstm-tagger", {}, INPUTS, Outputs(3), 0)
    with pytest.raises(InputError, match="bilstm-tagger"):
        build("lstm", {}, INPUTS, TAGGED, 0)


def test_baselines_count_words_as_they_are_written() -> None:
    features = {"tokens": np.array([[2, 3, 2], [2, 0, 0]]), "shapes": np.array([[4, 1, 1], [4, 0, 0]])}
    targets = np.array([[1, 0, 0], [1, -1, -1]])
    fitted = fit_tag_baselines(features, targets, 3)
    asked = {"tokens": np.array([[2, 2, 9, 0]]), "shapes": np.array([[4, 1, 1, 0]])}
    by_word = fitted["each word's commonest tag"](asked)["tag_probabilities"]
    assert by_word[0].argmax(axis=1).tolist() == [1, 0, 0, 0]
    assert (by_word[0, 3] == 0).all()
    assert fitted["commonest tag"](asked)["tag_probabilities"][0, :3].argmax(axis=1).tolist() == [0, 0, 0]
