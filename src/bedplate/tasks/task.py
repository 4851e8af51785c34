"""What is asked: the kind of payload and answer, the defaults, and the figure that chooses the best weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Task:
    """One task. `select` is the validation figure that chooses the best epoch; `primary` leads the report."""

    name: str
    payload: Literal["image", "sentence", "series", "table", "text"]
    answer: Literal["classes", "forecast", "labels", "number", "tags", "tokens", "vector"]
    model: str
    objective: str
    select: Literal["accuracy", "f1", "loss"]
    primary: str
