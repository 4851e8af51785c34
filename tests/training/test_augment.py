"""Augmentation: the right rows change, in the right way, from the given generator alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.training.samples import cnn, go, images, mlp, spec, table
from torch import Generator, Tensor

from bedplate.core.errors import InputError
from bedplate.recipe.schema import Part
from bedplate.training import augments
from bedplate.training.augment import bind, kind_of, one_hot
from bedplate.training.augment_mixing import beta

IMAGES = [name for name, factory in augments.parts() if kind_of(factory) == "image"]


def seeded(seed: int = 1) -> Generator:
    return Generator().manual_seed(seed)


def pictures(rows: int = 16, side: int = 9, channels: int = 3) -> Tensor:
    return torch.randint(0, 256, (rows, side, side, channels), dtype=torch.uint8, generator=seeded(7))


def apply(name: str, given_images: Tensor, seed: int = 1, **arguments: object) -> Tensor:
    found = augments.get(name)(**arguments)
    assert callable(found)
    changed = found(given_images.clone(), seeded(seed))
    assert isinstance(changed, Tensor)
    return changed


@pytest.mark.parametrize("name", IMAGES)
def test_images_keep_their_form_and_draw_from_the_generator_alone(name: str) -> None:
    given_images = pictures()
    torch.manual_seed(0)
    one = apply(name, given_images)
    torch.manual_seed(1)
    two, other = apply(name, given_images), apply(name, given_images, seed=2)
    assert one.dtype == torch.uint8
    assert one.shape == given_images.shape
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("name", IMAGES)
def test_equal_images_of_a_batch_are_changed_differently(name: str) -> None:
    """Every row has draws of its own."""
    same = pictures(1).expand(32, -1, -1, -1).contiguous()
    assert len({row.numpy().tobytes() for row in apply(name, same)}) > 5


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 20), width=st.integers(1, 20), channels=st.sampled_from([1, 3]), name=st.sampled_from(IMAGES)
)
def test_every_size_is_taken(height: int, width: int, channels: int, name: str) -> None:
    given_images = torch.randint(0, 256, (3, height, width, channels), dtype=torch.uint8)
    assert apply(name, given_images).shape == given_images.shape


def test_shifts_move_by_whole_pixels_and_no_further() -> None:
    dots = torch.zeros(200, 9, 9, 1, dtype=torch.uint8)
    dots[:, 4, 4] = 255
    places = torch.nonzero(apply("shift-flip", dots, shift=2)[..., 0])
    assert len(places) == 200
    assert {tuple(p) for p in places[:, 1:].tolist()} == {(y, x) for y in range(2, 7) for x in range(2, 7)}


def test_flips_mirror_about_half_of_the_rows() -> None:
    given_images = pictures(400)
    flipped = apply("shift-flip", given_images, shift=0, flip=True)
    same = (flipped == given_images).flatten(1).all(1)
    mirrored = (flipped == given_images.flip(2)).flatten(1).all(1)
    assert (same | mirrored).all()
    assert 150 < int(same.sum()) < 250


def test_rotating_by_nothing_changes_nothing_and_a_turn_keeps_the_middle() -> None:
    given_images = pictures()
    assert torch.equal(apply("rotate", given_images, degrees=0.0), given_images)
    dot = torch.zeros(64, 9, 9, 1, dtype=torch.uint8)
    dot[:, 4, 4] = 200
    assert (apply("rotate", dot, degrees=180.0)[:, 4, 4, 0] > 90).all()


def test_a_whole_crop_is_the_image() -> None:
    given_images = pictures()
    assert torch.equal(apply("resized-crop", given_images, smallest=1.0, ratio=1.0), given_images)


def test_cutout_blanks_a_square_of_the_share() -> None:
    white = torch.full((500, 21, 21, 3), 255, dtype=torch.uint8)
    blank = (apply("cutout", white, size=5, share=0.5) == 0).all(3).flatten(1).sum(1)
    assert set(blank.tolist()) <= {0, *(a * b for a in range(3, 6) for b in range(3, 6))}
    assert 200 < int((blank > 0).sum()) < 300


def test_colour_changes_nothing_at_strength_zero_and_grey_stays_grey() -> None:
    given_images = pictures()
    assert torch.equal(apply("colour", given_images, brightness=0.0, contrast=0.0, saturation=0.0), given_images)
    grey = pictures(8, channels=1).expand(-1, -1, -1, 3).contiguous()
    changed = apply("colour", grey, saturation=1.0).int()
    assert int((changed.amax(3) - changed.amin(3)).max()) <= 1


def test_table_noise_and_masks() -> None:
    numeric = torch.zeros(2000, 4)
    (noise,) = bind([Part(name="noise", std=0.5)], mlp())
    changed, _ = noise([numeric, torch.full((2000, 1), 3)], torch.zeros(2000), seeded())
    assert changed[0].std() == pytest.approx(0.5, rel=0.05)
    assert (changed[1] == 3).all()
    (mask,) = bind([Part(name="mask", share=0.25)], mlp())
    changed, _ = mask([torch.ones(2000, 4), torch.full((2000, 1), 3)], torch.zeros(2000), seeded())
    assert (changed[0] == 0).float().mean() == pytest.approx(0.25, abs=0.03)
    assert (changed[1] == 1).float().mean() == pytest.approx(0.25, abs=0.04)


@settings(max_examples=30, deadline=None)
@given(name=st.sampled_from(["mixup", "cutmix"]), alpha=st.floats(0.05, 5), seed=st.integers(0, 999))
def test_mixed_targets_are_the_share_of_the_pixels(name: str, alpha: float, seed: int) -> None:
    """Class k's images are all of value 60·k, so the mean pixel tells the mixture."""
    classes = torch.arange(4).repeat(8)
    given_images = (classes * 60).to(torch.uint8)[:, None, None, None].expand(-1, 8, 8, 1).contiguous()
    (augment,) = bind([Part(name=name, alpha=alpha)], cnn())
    (mixed,), targets = augment([given_images], classes, seeded(seed))
    assert targets.shape == (32, 4)
    assert torch.allclose(targets.sum(1), torch.ones(32), atol=1e-5)
    assert torch.allclose(mixed.float().mean((1, 2, 3)), targets @ torch.tensor([0.0, 60, 120, 180]), atol=0.6)


def test_mixup_takes_whole_categories_and_blends_values() -> None:
    features = [torch.arange(64.0).reshape(16, 4), torch.arange(16)[:, None]]
    (augment,) = bind([Part(name="mixup", alpha=1.0)], mlp())
    (numeric, categories), targets = augment(features, torch.arange(16) % 3, seeded())
    assert categories.dtype == torch.int64
    assert not torch.equal(numeric, features[0])
    assert (targets.max(1).values < 1).any()


@given(alpha=st.floats(0.1, 10), seed=st.integers(0, 50))
@settings(max_examples=20, deadline=None)
def test_beta_has_its_mean_and_variance(alpha: float, seed: int) -> None:
    drawn = beta(4000, alpha, seeded(seed), torch.device("cpu")).numpy()
    assert ((drawn >= 0) & (drawn <= 1)).all()
    assert np.mean(drawn) == pytest.approx(0.5, abs=0.04)
    assert np.var(drawn) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.15)


def test_one_hot_rows_are_probabilities() -> None:
    assert one_hot(torch.tensor([2, 0]), 3).tolist() == [[0, 0, 1], [1, 0, 0]]


def test_what_is_for_images_is_refused_for_a_table_and_the_other_way_round() -> None:
    with pytest.raises(InputError, match="'rotate' is for images"):
        bind([Part(name="rotate")], mlp())
    with pytest.raises(InputError, match="'noise' is for tables"):
        bind([Part(name="noise")], cnn())


def test_each_augmentation_has_a_generator_of_its_own() -> None:
    """A second augmentation doesn't change what the first one draws."""
    alone = go(cnn(), images(), spec(epochs=1, augment=[Part(name="shift-flip")]))
    both = go(
        cnn(),
        images(),
        spec(
            epochs=1,
            augment=[Part(name="shift-flip"), Part(name="colour", brightness=0.0, contrast=0.0, saturation=0.0)],
        ),
    )
    assert alone.history[0]["train_loss"] == both.history[0]["train_loss"]


def test_training_with_mixing_learns() -> None:
    assert go(cnn(), images(), spec(epochs=8, augment=Part(name="mixup"))).history[-1]["validation_accuracy"] > 0.9
    assert go(mlp(), table(), spec(epochs=8, augment=Part(name="mask"))).history[-1]["validation_accuracy"] > 0.7
