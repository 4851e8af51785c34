"""What a recipe's data section means to a language model where it says nothing."""

from __future__ import annotations

from typing import Any, TypeVar

from bedplate.recipe.schema import DataSpec, Section

Kind = TypeVar("Kind", bound=Section)


def of_language(data: DataSpec) -> DataSpec:
    """Return the section with a language model's own defaults: capitals count, and 5 % of a text judge it."""
    split, text = _given(data.split, validation=0.05, test=0.05), _given(data.text, lower=False)
    return data.model_copy(update={"split": split, "text": text})


def _given(section: Kind, **defaults: Any) -> Kind:
    return section.model_copy(update={k: v for k, v in defaults.items() if k not in section.model_fields_set})
