"""Text to text: a text in, its answer out, such as a translation, a summary, or what comes next in a talk."""

from bedplate.tasks.task import Task

TASK = Task("text-to-text", "text", "tokens", "seq2seq", "next-token", "loss", "bleu")
