from __future__ import annotations

import numpy as np
import torch

from bedplate.models import Outputs, TextInput, build
from bedplate.training.windows import Windows

LENGTH, ROWS = 8, 25
TEXT = np.arange(2, 2 + LENGTH * ROWS + 1)
TOKENS, TARGETS = TEXT[:-1].reshape(ROWS, LENGTH).astype(np.int32), TEXT[1:].reshape(ROWS, LENGTH)
NETWORK = build("transformer-decoder", {"size": 4, "heads": 1}, TextInput(300, LENGTH), Outputs(300, sequence=True), 0)


def windows(seed: int = 0) -> Windows:
    return Windows(NETWORK, {"tokens": TOKENS}, TARGETS, seed)


def test_each_token_has_the_one_behind_it_as_its_target() -> None:
    (tokens,), targets = windows().batch(0, 0, ROWS)
    assert tokens.shape == targets.shape == (ROWS, LENGTH)
    assert (tokens.dtype, targets.dtype) == (torch.int32, torch.int64)
    assert (targets == tokens + 1).all()
    assert (tokens[:, 1:] == tokens[:, :-1] + 1).all()


def test_an_epoch_covers_the_text_and_the_next_one_cuts_it_elsewhere() -> None:
    batches, offsets = windows(), set()
    for epoch in range(6):
        starts = batches.starts(epoch)
        assert len(starts) == ROWS
        assert starts.min() >= 0
        assert starts.max() <= LENGTH * (ROWS - 1)
        # All but the first and the last few tokens lie in exactly one window of the regular ones.
        seen = np.zeros(LENGTH * ROWS, int)
        for start in starts.tolist():
            seen[start : start + LENGTH] += 1
        assert (seen[LENGTH:-LENGTH] >= 1).all()
        offsets.add(int(starts.min()) % LENGTH)
    assert len(offsets) > 1


def test_any_position_can_be_asked_for_again() -> None:
    whole, parts = windows().batch(3, 0, ROWS)[1], windows()
    torch.testing.assert_close(parts.batch(3, 7, 12)[1], whole[7:12])
    torch.testing.assert_close(parts.batch(3, 0, 7)[1], whole[:7])
    assert not torch.equal(windows(1).batch(3, 0, ROWS)[1], whole)
