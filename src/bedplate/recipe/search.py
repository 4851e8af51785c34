"""The recipe's `search` section: what `bedplate sweep` may change, between which bounds, and how it looks for the best.

A dimension is a mapping (`{low: 1e-4, high: 1e-1, log: true}`, `{choices: [adam, sgd]}`) or its short form: the text
`1e-4..1e-1:log`, or the list of choices itself.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Figure = Literal["validation_accuracy", "validation_f1", "validation_loss", "validation_rmse", "seconds", "parameters"]
"""What a sweep may judge trials by: validation figures of the weights that were kept, training seconds, and weights."""

_NUMBER = r"[-+]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"\s*({_NUMBER})\s*\.\.\s*({_NUMBER})((?:\s*:\s*(?:log|step\s*=\s*{_NUMBER}))*)\s*")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def read_number(text: str) -> int | float | None:
    """Return the number that a text is, or None."""
    if not re.fullmatch(_NUMBER, text):
        return None
    return int(text) if re.fullmatch(r"[-+]?\d[\d_]*", text) else float(text)


def parse_dimension(value: Any) -> Any:
    """Return the mapping that a dimension's short form stands for; anything else is returned as it is.

    Example:
        >>> parse_dimension("1e-4..1e-1:log")
        {'low': 0.0001, 'high': 0.1, 'log': True}
        >>> parse_dimension("32..256:step=32")
        {'low': 32, 'high': 256, 'step': 32}
        >>> parse_dimension([[64], [128, 64]])
        {'choices': [[64], [128, 64]]}
    """
    if isinstance(value, list):
        return {"choices": value}
    found = _RANGE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return value
    made: dict[str, Any] = {"low": read_number(found[1]), "high": read_number(found[2])}
    for option in filter(None, (part.strip() for part in found[3].split(":"))):
        name, _, number = option.partition("=")
        made[name.strip()] = read_number(number.strip()) if number else True
    return made


class Dimension(_Section):
    """One setting and the values that it may take: a range of numbers, or a list of choices."""

    low: int | float | None = Field(None, description="the range's lower end, included")
    high: int | float | None = Field(None, description="the range's upper end, included")
    log: bool = Field(False, description="spread the values evenly over the logarithm")
    step: Annotated[float, Field(gt=0)] | None = Field(None, description="distance between values; not with log")
    type: Literal["float", "integer"] | None = Field(None, description="left out: integer where both ends are")
    points: Annotated[int, Field(ge=2, le=1000)] = Field(3, description="how many values a grid takes of the range")
    choices: Annotated[list[Any], Field(min_length=1)] | None = Field(None, description="the values, of any kind")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        if isinstance(value, str) and not isinstance(parse_dimension(value), dict):
            raise ValueError("a range such as 1e-4..1e-1:log, or a list of choices")  # noqa: TRY004 - pydantic's own
        return parse_dimension(value)

    @model_validator(mode="after")
    def _fits_together(self) -> Dimension:
        if self.choices is not None:
            if self.low is not None or self.high is not None:
                raise ValueError("either `choices`, or `low` and `high`")
            return self
        if self.low is None or self.high is None:
            raise ValueError("`low` and `high`, or `choices`")
        if not self.low < self.high:
            raise ValueError("`low` below `high`")
        if self.log and self.low <= 0:
            raise ValueError("`low` above 0 where `log` is set")
        if self.log and self.step is not None:
            raise ValueError("`log` or `step`, not both")
        if self.integer and not all(float(end).is_integer() for end in (self.low, self.high, self.step or 1)):
            raise ValueError("whole numbers where `type` is integer")
        return self

    @property
    def integer(self) -> bool:
        """Whether the range holds whole numbers alone."""
        whole = isinstance(self.low, int) and isinstance(self.high, int) and isinstance(self.step or 1, int | float)
        return self.type == "integer" or (self.type is None and whole and float(self.step or 1).is_integer())

    def words(self) -> str:
        """Return the dimension as people write it."""
        if self.choices is not None:
            return " | ".join(str(choice) for choice in self.choices)
        assert self.low is not None
        assert self.high is not None
        scale = " (log)" if self.log else f" (step {self.step:g})" if self.step else ""
        kind = " whole" if self.integer and not self.step else ""
        return f"{self.low:g} … {self.high:g}{kind}{scale}"

    def grid(self) -> list[Any]:
        """Return the values that a grid takes: every choice, every step, or `points` even places of the range."""
        if self.choices is not None:
            return list(self.choices)
        assert self.low is not None
        assert self.high is not None
        if self.step is not None:
            count = math.floor((self.high - self.low) / self.step + 1e-9) + 1
            values = [self.low + k * self.step for k in range(count)]
        else:
            shares = [k / (self.points - 1) for k in range(self.points)]
            if self.log:
                values = [self.low * (self.high / self.low) ** share for share in shares]
            else:
                values = [self.low + share * (self.high - self.low) for share in shares]
            values[0], values[-1] = self.low, self.high
        whole = [round(value) for value in values] if self.integer else [float(value) for value in values]
        return list(dict.fromkeys(whole))


class SearchSpec(_Section):
    """What a sweep may change, what it judges by, and how it looks."""

    space: dict[str, Dimension] = Field(
        default_factory=dict, description="dotted key of the recipe → its values; left out: chosen from the recipe"
    )
    objectives: Annotated[list[Figure], Field(max_length=4)] = Field(
        default_factory=list,
        description="what trials are judged by; left out: the figure that training selects by; several give a "
        "Pareto front",
    )
    sampler: Literal["tpe", "random", "grid", "nsga2"] = "tpe"
    pruner: Literal["median", "hyperband", "none"] | None = Field(
        None, description="stops a trial that falls behind; left out: median, and none with several objectives"
    )
    trials: Annotated[int, Field(ge=1, le=100_000)] = Field(20, description="how many, the recipe's own among them")
