"""A tagger of words: their vectors, their letters by a small convolution, and a recurrent network over the sentence."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from bedplate.core.errors import InputError
from bedplate.models.recurrent import backwards, both_ways
from bedplate.models.registry import Inputs, Outputs, SentenceInput, models, only
from bedplate.models.text_layers import Embedding, known, masked_max

_CELLS: dict[str, type[nn.LSTM | nn.GRU]] = {"lstm": nn.LSTM, "gru": nn.GRU}


class Spelling(nn.Module):
    """A word's letters → vectors → convolution → the largest over the word.

    Ma and Hovy 2016, "End-to-end Sequence Labeling via Bi-directional LSTM-CNNs-CRF", section 2.1.
    """

    def __init__(self, alphabet: int, size: int, filters: int) -> None:
        super().__init__()
        self.letters = Embedding(alphabet, size)
        self.filters = nn.Conv1d(size, filters, 3, padding=1)

    def forward(self, letters: Tensor) -> Tensor:
        """Map [rows, words, letters] to [rows, words, filters]; 0 for a word without letters."""
        rows, words, length = letters.shape
        each = letters.reshape(rows * words, length).to(torch.int32)
        found = self.filters(self.letters(each).transpose(1, 2)).transpose(1, 2)
        return masked_max(found, known(each)).reshape(rows, words, found.shape[2])


class Tagger(nn.Module):
    """Words, shapes and spellings side by side → dropout → recurrent layers, each way by itself → linear.

    Lample et al. 2016, "Neural Architectures for Named Entity Recognition", section 2, and Ma and Hovy 2016, section 2;
    what following tags are worth is the objective's and the answer's.
    """

    def __init__(
        self, inputs: SentenceInput, width: int, *, cell: str, size: int, shape: int, letter: int, filters: int,
        hidden: int, layers: int, dropout: float, unknown: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.tokens = Embedding(inputs.vocabulary, size, hidden=unknown)
        self.shapes = Embedding(inputs.shapes, shape) if shape else None
        self.spelling = Spelling(inputs.alphabet, letter, filters) if filters else None
        self.ways = nn.ModuleList(
            _CELLS[cell](
                size + shape + filters, hidden, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0
            )
            for _ in range(2)
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(2 * hidden, width)

    def forward(self, tokens: Tensor, shapes: Tensor, letters: Tensor) -> Tensor:
        """Return scores [rows, words, width]."""
        parts = [self.tokens(tokens)]
        if self.shapes is not None:
            parts.append(self.shapes(shapes))
        if self.spelling is not None:
            parts.append(self.spelling(letters))
        forth = self.dropout(torch.cat(parts, dim=2))
        turned = backwards(known(tokens))
        back = forth.gather(1, turned[:, :, None].expand(-1, -1, forth.shape[2]))
        out: Tensor = self.head(self.dropout(both_ways(self.ways, forth, back, turned)))
        return out


@models.register("bilstm-tagger")
def bilstm_tagger(
    inputs: Inputs,
    outputs: Outputs,
    *,
    cell: Literal["lstm", "gru"] = "lstm",
    size: Annotated[int, Field(ge=1, le=4096)] = 100,
    shape: Annotated[int, Field(ge=0, le=256)] = 10,
    letter: Annotated[int, Field(ge=1, le=256)] = 25,
    filters: Annotated[int, Field(ge=0, le=1024)] = 50,
    hidden: Annotated[int, Field(ge=1, le=4096)] = 128,
    layers: Annotated[int, Field(ge=1, le=8)] = 1,
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5,
    unknown: Annotated[float, Field(ge=0, lt=1)] = 0.1,
) -> nn.Module:
    """Return a tagger of words.

    Args:
        inputs: sentences.
        outputs: tags.
        cell: of the recurrent layers.
        size: numbers a word's vector.
        shape: numbers of the vector of a word's shape (capitals, digits, signs); 0: without.
        letter: numbers a letter's vector.
        filters: of the convolution over a word's letters; 0: letters aren't read.
        hidden: units of each recurrent layer, each way.
        layers: one above the other.
        dropout: share of numbers dropped in training before and behind the recurrent layers, 0 to 1.
        unknown: share of words that training hides, so that "unknown" is learnt, 0 to 1.

    Raises:
        InputError: the task isn't one of tags.
    """
    only(inputs, SentenceInput, "bilstm-tagger")
    assert isinstance(inputs, SentenceInput)
    if not outputs.tags:
        raise InputError("model 'bilstm-tagger' tags words", where="model.name", hint="set task: token-classification")
    return Tagger(
        inputs, outputs.width, cell=cell, size=size, shape=shape, letter=letter, filters=filters, hidden=hidden,
        layers=layers, dropout=dropout, unknown=unknown,
    )  # fmt: skip
