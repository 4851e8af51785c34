"""What is asked: payload, answer, and the names of the default objective and model; one task a file."""

from bedplate.core.errors import InputError, did_you_mean, listing
from bedplate.tasks import (
    forecasting,
    image_classification,
    language_modelling,
    multi_label_classification,
    tabular_classification,
    tabular_regression,
    text_classification,
    text_embedding,
    text_to_text,
    token_classification,
)
from bedplate.tasks.task import Task

TASKS = {
    task.name: task
    for task in (
        forecasting.TASK, image_classification.TASK, language_modelling.TASK, multi_label_classification.TASK,
        tabular_classification.TASK, tabular_regression.TASK, text_classification.TASK, text_embedding.TASK,
        text_to_text.TASK, token_classification.TASK,
    )
}  # fmt: skip


def get_task(name: str) -> Task:
    """Return the task called `name`."""
    if name not in TASKS:
        raise InputError(
            f"unknown task '{name}'", where="task", expected=f"one of {listing(TASKS)}", hint=did_you_mean(name, TASKS)
        )
    return TASKS[name]


__all__ = ["TASKS", "Task", "get_task"]
