"""Which metrics a task's answers have."""

from __future__ import annotations

from bedplate.evaluation.metrics import (
    CLASSIFICATION,
    FORECASTS,
    LABEL_SETS,
    LANGUAGE,
    QUANTILES,
    REGRESSION,
    TAGGING,
    TEXTS,
)
from bedplate.evaluation.neighbours import EMBEDDINGS
from bedplate.tasks import TASKS, Task

_BY_ANSWER: dict[str, tuple[str, ...]] = {
    "classes": CLASSIFICATION, "forecast": (*FORECASTS, *QUANTILES), "labels": LABEL_SETS, "number": REGRESSION,
    "tags": TAGGING, "tokens": LANGUAGE, "vector": EMBEDDINGS,
}  # fmt: skip


def metrics_of(task: Task) -> tuple[str, ...]:
    """Return the names of all metrics that a task's report may hold.

    Example:
        >>> from bedplate.tasks import get_task
        >>> metrics_of(get_task("text-to-text"))
        ('bleu', 'exact', 'loss', 'perplexity', 'bits_per_byte')
    """
    known = _BY_ANSWER[task.answer]
    return (*TEXTS, *known) if task.primary in TEXTS else known


ALL_METRICS = tuple(dict.fromkeys(name for task in TASKS.values() for name in metrics_of(task)))
"""Every metric of any task."""
