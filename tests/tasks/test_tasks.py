"""Tasks name parts that exist."""

from __future__ import annotations

import pytest

from bedplate.core.errors import InputError
from bedplate.models import models
from bedplate.objectives import objectives
from bedplate.tasks import TASKS, get_task


@pytest.mark.parametrize("name", list(TASKS))
def test_defaults_are_registered(name: str) -> None:
    task = get_task(name)
    assert models.get(task.model)
    # What minimises the error of a number minimises that of a forecast's numbers.
    wanted = "number" if task.answer == "forecast" else task.answer
    assert objectives.get(task.objective)().kind in ("any", wanted)


def test_an_unknown_task_names_its_neighbour() -> None:
    with pytest.raises(InputError, match="did you mean 'tabular-regression'"):
        get_task("tabular-regresion")
