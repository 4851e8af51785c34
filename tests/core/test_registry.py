"""Registries: names in recipes stand for functions, and what they are given is checked."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import Field

from bedplate.core.errors import InputError
from bedplate.core.registry import Registry


def made() -> Registry:  # type: ignore[type-arg]
    registry: Registry = Registry("model")  # type: ignore[type-arg]

    @registry.register("tiny")
    def tiny(inputs: object, *, width: Annotated[int, Field(ge=1)], deep: bool = False) -> None: ...

    return registry


def test_unknown_names_get_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'tiny'"):
        made().get("tinny")
    assert made().names() == ["tiny"]


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [("tinny", {}, ["unknown model 'tinny'"]), ("tiny", {"widht": 1}, ["unknown argument 'widht'", "needs 'width'"]),
     ("tiny", {"width": 0}, ["greater than or equal to 1"]), ("tiny", {"width": "x", "deep": 7}, ["integer", "boolean"]),
     ("tiny", {"width": 3}, [])],
)  # fmt: skip
def test_all_problems_of_a_part(name: str, given: dict[str, object], words: list[str]) -> None:
    found = made().problems(name, given, "model")
    assert len(found) == len(words)
    for problem, word in zip(found, words, strict=True):
        assert word in problem.message
        assert problem.where is not None
        assert problem.where.startswith("model")


def test_a_name_is_not_taken_twice() -> None:
    registry = made()
    with pytest.raises(InputError, match="two models are called 'tiny'"):
        registry.register("tiny")(lambda inputs: None)
