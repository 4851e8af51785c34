"""Token classification: a sentence in, a tag for each of its words out, and the entities that the tags mark."""

from bedplate.tasks.task import Task

TASK = Task("token-classification", "sentence", "tags", "bilstm-tagger", "crf", "f1", "f1")
