"""Read the steps that an earlier search wrote down."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from bedplate.core.errors import InputError


def read_steps(path: Path) -> tuple[str, list[Mapping[str, Any]]]:
    """Return the name and the steps of a `*.steps.yaml`.

    Raises:
        InputError: it can't be read, or holds no steps.
    """
    try:
        told = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
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
    return name, steps
