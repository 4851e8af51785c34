"""Read the steps that an earlier search wrote down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bedplate.core.errors import InputError
from bedplate.stages.compress_steps import check_step


@dataclass(frozen=True)
class Replay:
    """What a file asks to be done again: the point's name, its steps, and where they lie."""

    name: str
    steps: Sequence[Mapping[str, Any]]
    path: Path


def read_steps(path: Path) -> Replay:
    """Return what a `*.steps.yaml` asks for.

    Raises:
        InputError: it can't be read, holds no steps, or one that isn't known; says where.
    """
    try:
        told = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise InputError(
            "the steps can't be read", where=f"{path}:{mark.line + 1}" if mark else str(path),
            received=str(getattr(error, "problem", None) or error).splitlines()[0],
        ) from error  # fmt: skip
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("the steps can't be read", where=str(path), received=str(error).splitlines()[0]) from error
    name, steps = (told.get("name"), told.get("steps")) if isinstance(told, dict) else (None, None)
    if (
        not isinstance(name, str)
        or not isinstance(steps, list)
        or not all(isinstance(step, dict) and isinstance(step.get("do"), str) for step in steps)
    ):
        raise InputError(
            "no steps lie here", where=str(path), expected="name, and steps: a list of {do: NAME, …}",
            hint="a search writes them beside each bundle, as NAME.steps.yaml",
        )  # fmt: skip
    for number, step in enumerate(steps, 1):
        check_step(step, f"{path} step {number}", last=number == len(steps))
    return Replay(name, steps, path)
