"""Tabular regression: a row of columns in, a number out."""

from bedplate.tasks.task import Task

TASK = Task("tabular-regression", "table", "number", "mlp", "squared-error", "loss", "rmse")
