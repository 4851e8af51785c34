"""The baselines beside which written texts are judged: the text itself, and the answer to the one most like it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

_BLOCK = 256
_WORDS = r"(?u)\w+|[^\w\s]"
"""Words, and signs by themselves."""


def fit_pair_baselines(
    texts: Sequence[str], answers: Sequence[str], asked: Sequence[str], *, lower: bool
) -> dict[str, list[str]]:
    """Return what each baseline writes for every text that is asked.

    The nearest training text is that of the largest cosine between TF-IDF weights of words and pairs of words.

    Args:
        texts: of training.
        answers: to each of them.
        asked: texts to be answered.
        lower: capitals don't count.
    """
    weigh = TfidfVectorizer(lowercase=lower, ngram_range=(1, 2), token_pattern=_WORDS, sublinear_tf=True)
    known = weigh.fit_transform(texts)
    found = weigh.transform(asked)
    near: list[int] = []
    for start in range(0, len(asked), _BLOCK):
        cosines = np.asarray((found[start : start + _BLOCK] @ known.T).todense())
        near += cosines.argmax(axis=1).tolist()
    return {"the text itself": list(asked), "the answer to the nearest text": [answers[k] for k in near]}
