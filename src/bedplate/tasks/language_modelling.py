"""Language modelling: the beginning of a text in, what comes next out."""

from bedplate.tasks.task import Task

TASK = Task("language-modelling", "text", "tokens", "transformer-decoder", "next-token", "loss", "loss")
