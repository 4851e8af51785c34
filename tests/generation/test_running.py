from __future__ import annotations

import numpy as np
from tests.bundle.texts import Sums

from bedplate.bundle.session import OnnxPredict
from bedplate.generation.decoder import Decoder
from bedplate.generation.running import Running
from bedplate.generation.sampling import Sampling
from bedplate.generation.stream import Piece, Stream

VOCABULARY = 20
PREDICT = OnnxPredict(Sums(VOCABULARY).graph(), variant="f32", threads=1)
PIECES = (b"", b"", *(bytes([97 + k]) for k in range(VOCABULARY - 2)))


def running(context: int = 40) -> Running:
    return Running(Decoder(PREDICT.step, PREDICT.past, context))


def stream(prompt: list[int], most: int, seed: int = 0) -> Stream:
    return Stream(prompt, Sampling(max_tokens=most, temperature=1.0, seed=seed), PIECES)


def finish(batch: Running) -> None:
    while batch.streams:
        batch.advance()


def alone(prompt: list[int], most: int, seed: int) -> list[int]:
    batch, one = running(), stream(prompt, most, seed)
    batch.join([one])
    finish(batch)
    return one.tokens


def test_a_stream_writes_the_same_alone_and_among_those_that_come_and_go() -> None:
    asked = [([2, 3, 4], 9, 1), ([5], 14, 2), ([6, 7], 3, 3), ([8, 2, 2, 9], 11, 4)]
    batch, streams = running(), [stream(*one) for one in asked]
    batch.join(streams[:2])
    batch.advance()
    batch.join(streams[2:3])
    for _ in range(3):
        batch.advance()
    batch.join(streams[3:])
    finish(batch)
    assert [one.tokens for one in streams] == [alone(*one) for one in asked]
    assert all(one.finish == "length" for one in streams)


def test_one_that_is_let_go_holds_no_row_and_changes_nothing_for_the_others() -> None:
    batch = running()
    first, gone, last = stream([2, 3], 12, 1), stream([4, 5], 12, 2), stream([6], 12, 3)
    batch.join([first, gone, last])
    batch.advance()
    batch.leave([gone])
    finish(batch)
    assert (first.tokens, last.tokens) == (alone([2, 3], 12, 1), alone([6], 12, 3))
    assert len(gone.tokens) == 2
    batch.leave([gone])  # it isn't there: nothing happens


def test_beyond_the_context_the_later_half_goes_on_and_is_told() -> None:
    batch, one = running(context=8), stream([2, 3, 4], 20)
    batch.join([one])
    finish(batch)
    assert len(one.tokens) == 20
    # Full at 8 tokens, the last 4 are read again: when 9 tokens are written, 14 and 19.
    assert one.forgotten == 19 - 4
    assert not batch.streams


def test_the_first_piece_may_be_the_last() -> None:
    batch, one = running(), stream([2], 1)
    ((_, piece),) = batch.join([one])
    assert isinstance(piece, Piece)
    assert piece.finish == "length"
    assert batch.streams == []
    assert batch.advance() == []
    assert np.isin(one.tokens, range(2, VOCABULARY)).all()
