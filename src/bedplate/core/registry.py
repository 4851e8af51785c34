"""Registries: a name in a recipe stands for a registered function.

A name that isn't known yet is looked for in the entry points of installed packages (`bedplate.models`, …); nothing is
loaded before it is asked for.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from bedplate.core.errors import BedplateError, InputError, did_you_mean, listing

T = TypeVar("T", bound=Callable[..., Any])


class Registry(Generic[T]):
    """Names for one kind of part ("model", "objective", …).

    Example:
        >>> models = Registry("model")
        >>> @models.register("tiny")
        ... def tiny(inputs, outputs, *, width: int = 8): ...
        >>> models.names()
        ['tiny']
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._parts: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that registers a function under `name`; a name can't be taken twice."""

        def add(part: T) -> T:
            known = self._parts.get(name)
            if known is not None and (known.__module__, known.__qualname__) != (part.__module__, part.__qualname__):
                raise InputError(
                    f"two {self.kind}s are called '{name}'",
                    received=f"{known.__module__}.{known.__qualname__} and {part.__module__}.{part.__qualname__}",
                    hint="give one of them another name",
                )
            self._parts[name] = part
            return part

        return add

    def _load_entry_points(self) -> None:
        for entry in entry_points(group=f"bedplate.{self.kind.replace(' ', '_')}s"):
            if entry.name not in self._parts:
                self.register(entry.name)(entry.load())

    def get(self, name: str) -> T:
        """Return the part called `name`, or raise an InputError with the nearest spelling."""
        if name not in self._parts:
            self._load_entry_points()
        if name not in self._parts:
            raise InputError(
                f"unknown {self.kind} '{name}'",
                expected=f"one of {listing(self.names())}",
                hint=did_you_mean(name, self.names()),
            )
        return self._parts[name]

    def names(self) -> list[str]:
        """Return the registered names, sorted."""
        return sorted(self._parts)

    def parts(self) -> Iterator[tuple[str, T]]:
        """Yield (name, part), sorted by name."""
        yield from sorted(self._parts.items())

    def arguments(self, name: str) -> dict[str, inspect.Parameter]:
        """Return the keyword-only parameters of a part: what a recipe may set."""
        parameters = inspect.signature(self.get(name)).parameters
        return {key: p for key, p in parameters.items() if p.kind is inspect.Parameter.KEYWORD_ONLY}

    def problems(self, name: str, given: dict[str, Any], where: str) -> list[BedplateError]:
        """Check a recipe's arguments for part `name`; return every problem (unknown name, key or type)."""
        from pydantic import TypeAdapter, ValidationError

        try:
            known = self.arguments(name)
        except InputError as error:
            return [InputError(error.what, where=f"{where}.name", expected=error.expected, hint=error.hint)]
        found: list[BedplateError] = []
        hints = inspect.get_annotations(self.get(name), eval_str=True)
        for key, value in given.items():
            if key not in known:
                found.append(
                    InputError(
                        f"unknown argument '{key}' of {self.kind} '{name}'",
                        where=f"{where}.{key}",
                        expected=f"one of {listing(known)}" if known else "no arguments",
                        hint=did_you_mean(key, known),
                    )
                )
                continue
            try:
                TypeAdapter(hints.get(key, Any)).validate_python(value)
                if isinstance(value, float) and not math.isfinite(value):
                    found.append(InputError("not a finite number", where=f"{where}.{key}", received=repr(value)))
            except ValidationError as error:
                first = error.errors()[0]
                expected = first["msg"].replace("Input should be ", "")
                found.append(
                    InputError("wrong value", where=f"{where}.{key}", expected=expected, received=repr(value)[:60])
                )
        for key, parameter in known.items():
            if parameter.default is inspect.Parameter.empty and key not in given:
                found.append(InputError(f"{self.kind} '{name}' needs '{key}'", where=where))
        return found
