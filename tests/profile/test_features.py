"""The watched figures say what they claim."""

from __future__ import annotations

import numpy as np
import pytest

from bedplate.profile.features import answer_figures, image_figures, watch


def test_figures_of_known_images() -> None:
    black = np.zeros((8, 8, 1), np.uint8)
    white = np.full((8, 8, 1), 255, np.uint8)
    corner = black.copy()
    corner[0, 7] = 255
    stripes = black.copy()
    stripes[:, ::2] = 255
    figures = image_figures(np.stack([black, white, corner, stripes]))
    assert figures["brightness"].tolist() == pytest.approx([0, 255, 255 / 64, 127.5])
    assert figures["contrast"].tolist()[:2] == [0, 0]
    assert figures["centre_x"].tolist() == pytest.approx([0.5, 0.5, 1.0, 3 / 7], abs=1e-6)
    assert figures["centre_y"].tolist() == pytest.approx([0.5, 0.5, 0.0, 0.5], abs=1e-6)
    assert figures["dark"].tolist() == pytest.approx([1, 0, 63 / 64, 0.5])
    assert figures["edges"].tolist()[3] == 1.0
    assert figures["sharpness"][3] > figures["sharpness"][1] == 0


def test_colour_images_have_colours_and_tiny_ones_do_not_fail() -> None:
    red = np.zeros((2, 4, 4, 3), np.uint8)
    red[..., 0] = 200
    figures = image_figures(red)
    assert (figures["red"][0], figures["green"][0], figures["saturation"][0]) == (200, 0, 200)
    for shape in ((3, 1, 1, 1), (3, 2, 5, 3), (1, 1, 9, 1)):
        for values in image_figures(np.ones(shape, np.uint8)).values():
            assert values.shape == shape[:1]
            assert np.isfinite(values).all()


def test_many_images_are_taken_in_pieces() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2500, 4, 4, 1), dtype=np.uint8)
    whole = watch({"image": images})
    assert whole["image.brightness"].shape == (2500,)
    np.testing.assert_allclose(whole["image.brightness"], images.mean((1, 2, 3)), rtol=1e-5)


def test_columns_and_answers_are_watched() -> None:
    inputs = {"age": np.array([1.0, np.nan]), "town": np.array(["x", ""], dtype=object)}
    outputs = {"probabilities": np.array([[0.9, 0.1], [0.5, 0.5]], np.float32)}
    watched = watch(inputs, outputs, ["no", "yes"])
    assert watched["answer"].tolist() == ["no", "no"]
    assert watched["answer.confidence"].tolist() == [0.9, 0.5]
    assert watched["answer.entropy"].tolist() == pytest.approx([0.45, 1.0])
    assert watched["town"].tolist() == ["x", ""]
    assert set(watch(inputs)) == {"age", "town"}
    assert answer_figures({"value": np.array([2.5], np.float32)})["answer"].tolist() == [2.5]


def test_a_column_may_have_the_name_of_an_answer() -> None:
    watched = watch({"answer": np.array([1.0])}, {"value": np.array([2.5], np.float32)})
    assert {name: array.tolist() for name, array in watched.items()} == {"answer": [1.0], "answer_": [2.5]}


def test_a_series_columns_go_by_their_names() -> None:
    history = np.arange(12.0).reshape(2, 3, 2).astype(np.float32)
    outputs = {"forecast": np.array([[[1.0, 5.0]], [[2.0, 6.0]]], np.float32)}
    watched = watch({"history": history}, outputs, ["load", "oil"])
    assert watched["history.oil.last"].tolist() == [5.0, 11.0]
    assert watched["answer.load.mean"].tolist() == [1.0, 2.0]
    assert {name.split(".")[1] for name in watched} == {"load", "oil"}
    numbered = watch({"history": history}, outputs)  # what an older bundle's reference knows
    assert [array.tolist() for array in watched.values()] == [array.tolist() for array in numbered.values()]
    assert "history.1.last" in numbered


def test_of_tags_shares_and_confidence_are_watched() -> None:
    probabilities = np.zeros((2, 3, 2), np.float32)
    probabilities[0] = [[0.9, 0.1], [0.2, 0.8], [0.1, 0.9]]
    probabilities[1, 0] = [0.7, 0.3]
    found = answer_figures({"tag_probabilities": probabilities})
    np.testing.assert_allclose(found["answer.0"], [1 / 3, 1])
    np.testing.assert_allclose(found["answer.1"], [2 / 3, 0])
    np.testing.assert_allclose(found["answer.confidence"], [0.87, 0.7])
