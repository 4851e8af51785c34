"""Noisy student: rows without labels get the teacher's answer, and the student learns from them under noise.

The teacher sees each row as it is; the student sees it augmented and drops units, whatever the recipe's training says.
Xie et al. 2020, "Self-training with Noisy Student improves ImageNet classification", algorithm 1 (hard labels).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bedplate.core.arrays import Arrays, concatenate, take
from bedplate.models import Network, predictor
from bedplate.training import TrainingData


def taught_rows(teacher: Network, data: TrainingData, unlabelled: Arrays, threshold: float = 0.0) -> TrainingData:
    """Return the training rows with the unlabelled ones beside them, labelled by the teacher.

    Args:
        teacher: answers the unlabelled rows, in evaluation mode.
        data: resident rows.
        unlabelled: features of the rows without labels; rows that the data has already should not be among them.
        threshold: classes only: least probability of an answer that is taken, 0 to 1.

    Returns:
        The same validation rows; the training rows first, then those that were taken.
    """
    (output,) = predictor(teacher)(unlabelled).values()
    if teacher.outputs.classes:
        sure = output.max(axis=1) >= threshold
        targets = output.argmax(axis=1)[sure].astype(data.targets.dtype)
        unlabelled = take(unlabelled, np.flatnonzero(sure))
    else:
        targets = output.astype(data.targets.dtype)
    if not len(targets):
        return data
    return replace(
        data,
        features=concatenate([data.features, unlabelled]),
        targets=np.concatenate([data.targets, targets]),
    )
