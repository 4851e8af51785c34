"""Judge written texts beside the expected ones: BLEU by sacrebleu, and the share that is the same to the letter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sacrebleu.metrics.bleu import BLEU

from bedplate.evaluation.bootstrap import Estimate, bootstrap, estimates

_ORDER = 4
_EAST = "\u0e00"


class TextFacts:
    """Per-row facts of written texts.

    BLEU (Papineni et al. 2002, "BLEU: a Method for Automatic Evaluation of Machine Translation", section 2.3) is of the
    whole set of texts, 0 to 100; its counts add up over rows, so that weights can resample it. Tokens are sacrebleu's
    13a, or single characters where texts have hardly any spaces between words (Post 2018, "A Call for Clarity in
    Reporting BLEU Scores").

    Args:
        written: texts [N].
        expected: one reference each [N].
        lower: capitals don't count.
    """

    def __init__(self, written: Sequence[str], expected: Sequence[str], *, lower: bool) -> None:
        self.rows = len(written)
        some = "".join(expected[:1000])
        # Chinese, Japanese, Thai and their like; single words of other scripts have no spaces either.
        without = some.count(" ") <= len(some) / 20 and sum(sign >= _EAST for sign in some) > len(some) / 2
        self.tokens = "char" if without else "13a"
        self._bleu = BLEU(lowercase=lower, tokenize=self.tokens, effective_order=True)
        found = [self._bleu.sentence_score(one, [other]) for one, other in zip(written, expected, strict=True)]
        # [N, counts and totals of 1 to 4 tokens, both lengths]
        self.counts = np.array([[*one.counts, *one.totals, one.sys_len, one.ref_len] for one in found], np.float64)
        self.scores = np.array([one.score for one in found])
        folded = [[text.strip().lower() if lower else text.strip() for text in texts] for texts in (written, expected)]
        self.exact = np.array([one == other for one, other in zip(*folded, strict=True)], np.float64)

    def measure(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Return every metric, [R] each, under weights [R,N]; BLEU is NaN where no text has four tokens."""
        sums = np.rint(weights @ self.counts).astype(np.int64)
        bleu = [
            BLEU.compute_bleu(
                row[:_ORDER].tolist(), row[_ORDER : 2 * _ORDER].tolist(), int(row[-2]), int(row[-1]),
                smooth_method="exp",
            ).score
            for row in sums
        ]  # fmt: skip
        told = np.array(bleu) if self.counts[:, 2 * _ORDER - 1].any() else np.full(len(weights), np.nan)
        return {"bleu": told, "exact": weights @ self.exact / weights.sum(axis=1)}

    def values(self) -> dict[str, float]:
        """Return every metric that is defined."""
        found = self.measure(np.ones((1, self.rows)))
        return {name: float(value[0]) for name, value in found.items() if not np.isnan(value[0])}

    def metrics(self, resamples: int, confidence: float, seed: int) -> dict[str, Estimate]:
        """Return every metric with its bootstrap interval."""
        samples = bootstrap(self.measure, self.rows, resamples, seed)
        return estimates(self.measure(np.ones((1, self.rows))), samples, confidence)
