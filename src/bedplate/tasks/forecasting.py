"""Forecasting: the latest steps of a series in, its next ones out."""

from bedplate.tasks.task import Task

TASK = Task("forecasting", "series", "forecast", "dlinear", "squared-error", "loss", "mse")
