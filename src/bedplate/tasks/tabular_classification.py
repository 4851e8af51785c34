"""Tabular classification: a row of columns in, one of the labels out."""

from bedplate.tasks.task import Task

TASK = Task("tabular-classification", "table", "classes", "mlp", "cross-entropy", "loss", "accuracy")
