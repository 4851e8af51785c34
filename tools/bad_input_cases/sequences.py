"""Bad texts, sentences and series: what is learnt in an order."""

from __future__ import annotations

from tools.bad_input_cases.case import Case, Place

GROUP = "Texts, sentences and series"
PROSE = "".join(f"{k} and {k + 1} make {2 * k + 1}; so it goes.\n" for k in range(300))
SENTENCE = "Anna B-PER\nlives O\nin O\nOslo B-LOC\n\n"


def _plan(
    sent: str, task: str, data: str, content: str | bytes, *says: str, code: int = 2, name: str = "a.txt",
    also: tuple[str, str] | None = None,
) -> Case:  # fmt: skip
    """A recipe that is good, and data that isn't."""

    def build(place: Place) -> None:
        place.text("a.yaml", f"name: a\ntask: {task}\ndata: {{{data}}}\n")
        place.bytes(name, content if isinstance(content, bytes) else content.encode())
        if also is not None:
            place.text(*also)

    return Case(GROUP, sent, "plan a.yaml", says, code, build)


def _book(sent: str, content: str | bytes, *says: str, more: str = "") -> Case:
    return _plan(sent, "language-modelling", f"source: a.txt{more}", content, *says)


def _pairs(sent: str, left: str, right: str, *says: str, more: str = "") -> Case:
    return _plan(
        sent, "text-to-text", f'source: "a.{{de,en}}"{more}', left, *says, name="a.de", also=("a.en", right)
    )  # fmt: skip


def _sets(sent: str, rows: list[str], *says: str, more: str = "") -> Case:
    content = "".join(f'{{"a": "so it goes {k}", "b": {labels}}}\n' for k, labels in enumerate(rows))
    data = f"source: a.jsonl, target: b, text: {{column: a}}{more}"
    return _plan(sent, "multi-label-classification", data, content, *says, name="a.jsonl")


def _talk(sent: str, messages: str, *says: str, more: str = "") -> Case:
    """A file of good talks, and one that isn't."""
    talks = "".join(
        f'{{"messages": [{_said("user", f"what is {k}?")}, {_said("assistant", f"{k}")}]}}\n' for k in range(30)
    )
    data = f"source: a.jsonl, text: {{messages: messages{more}}}"
    return _plan(sent, "text-to-text", data, f'{talks}{{"messages": [{messages}]}}\n', *says, name="a.jsonl")


def _said(role: str, content: str) -> str:
    return f'{{"role": "{role}", "content": "{content}"}}'


def _words(sent: str, content: str | bytes, *says: str, name: str = "a.conll") -> Case:
    return _plan(sent, "token-classification", f"source: {name}", content, *says, name=name)


def _series(sent: str, rows: list[str], *says: str, more: str = "") -> Case:
    content = "\n".join(["time,load", *rows]) + "\n"
    data = f"source: a.csv, target: load, series: {{time: time, horizon: 2, history: 4{more}}}"
    return _plan(sent, "forecasting", data, content, *says, name="a.csv")


def _pretrain(sent: str, section: str, *says: str, task: str = "text-classification", model: str = "bert") -> Case:
    def build(place: Place) -> None:
        rows = "".join(f"it is {k} and so on,{'ab'[k % 2]}\n" for k in range(60))
        place.text("a.csv", f"text,label\n{rows}")
        place.text("more.txt", "so it goes\n")
        place.text("empty.txt", "")
        place.bytes("zeros.txt", bytes(99))
        data = "{source: a.csv, target: label}"
        place.text(
            "a.yaml", f"name: a\ntask: {task}\ndata: {data}\nmodel: {model}\ntraining: {{pretrain: {section}}}\n"
        )

    return Case(GROUP, sent, "train a.yaml", says, build=build)


def _hours(count: int) -> list[str]:
    return [f"2024-01-{1 + k // 24:02d} {k % 24:02d}:00,{k % 7}.5" for k in range(count)]


CASES = (
    _book("an empty text", " \n", "the text is empty"),
    _book("a NUL in a text", PROSE + "\0", "a NUL at byte"),
    _book("a text in Latin-1", PROSE.encode() + "café".encode("latin-1"), "not UTF-8", "0xe9"),
    _book("a text shorter than a window", "so it goes\n", "shorter than a window", "data.text.length"),
    _book("a text split at random", PROSE, "not split by group", more=", split: {by: group, column: x}"),
    _plan("no such text", "language-modelling", "source: b.txt", PROSE, "no such file or folder of texts"),
    _pretrain("pre-training on texts that aren't there", "{epochs: 1, texts: mre.txt}", "no such file", "'more.txt'"),
    _pretrain("pre-training on an empty file", "{epochs: 1, texts: empty.txt}", "the file is empty", "a text a line"),
    _pretrain("pre-training that hides nothing", "{epochs: 1, masked: 0}", "training.pretrain.masked", "greater than 0"),
    _pretrain("pre-training that hides more than there is", "{epochs: 1, masked: 1.5}", "less than 1", "received 1.5"),
    _pretrain("pre-training of no epoch", "{epochs: 0}", "training.pretrain.epochs", "greater than or equal to 1"),
    _pretrain("pre-training on a file of zeros", "{epochs: 1, texts: zeros.txt}", "zeros.txt", "NUL"),
    _pretrain("pre-training of an LSTM", "{epochs: 1}", "gives its tokens no states", "`bert`", model="lstm"),
    _pretrain("pre-training of a bag of words", "{epochs: 1}", "gives its tokens no states", "`bert`", model="bag"),
    _pretrain("pre-training on rows of a table", "{epochs: 1}", "is for texts", task="tabular-classification", model="mlp"),
    _pairs("parallel lines of other lengths", "a\nb\n", "a\n", "differ in length", "2 lines in both"),
    _pairs("an empty line among parallel ones", "a\n\nc\n", "x\ny\nz\n", "'de': the text is empty", "a.de:2"),
    _pairs("a NUL among parallel lines", "a\nb\0\nc\n", "x\ny\nz\n", "holds a NUL", "a.de:2"),
    _pairs("three pairs of lines", "a\nb\nc\n", "x\ny\nz\n", "too few rows"),
    _plan("one of two files of lines", "text-to-text", 'source: "b.{de,en}"', "a\n", "no such file of lines", name="a.de"),
    _pairs("a tokenizer of others for pairs", "a\nb\n", "a\nb\n", "learn their own tokens", more=", text: {tokenizer: t.json}"),
    _plan(
        "a column of texts that isn't there", "text-to-text", "source: a.jsonl, target: b, text: {column: aa}",
        "".join(f'{{"a": "x {k}", "b": "y {k}"}}\n' for k in range(30)), "did you mean 'a'", name="a.jsonl",
    ),
    _sets("a number among lists of labels", ['["x"]', '["y"]'] * 20 + ["[1.5]"], "a.jsonl:41", "a list of labels"),
    _sets("a cell that is no list among lists", ['["x"]', '["y"]'] * 20 + ['{"x": 1}'], "a.jsonl:41", "as other rows have"),
    _sets("no label in any row", ["[]"] * 40, "nothing to tell apart", "no training row with a label"),
    _sets("the same labels in every row", ['["x", "y"]'] * 40, "nothing to tell apart", "x, y"),
    _sets("a positive one of several labels", ['["x"]', '["y"]'] * 20, "each there or not", more=", positive: x"),
    _talk("a talk in which nobody answers", _said("user", "hi"), "no message of the assistant", "a.jsonl:31"),
    _talk(
        "a misspelt role in a talk", f'{_said("user", "hi")}, {_said("asistant", "ho")}', "did you mean 'assistant'",
        "messages[1].role",
    ),
    _talk("a tool's message in a talk", f'{_said("user", "hi")}, {_said("tool", "ho")}', "messages of tools aren't read"),
    _talk("a talk that the assistant begins", _said("assistant", "ho"), "the assistant speaks first"),
    _talk("a message without a content", '{"role": "user"}', "messages[0]", "no 'content'"),
    _talk(
        "a chat template that doesn't show the message", _said("user", "hi"), "where the user's message stands",
        more=', template: {user: "User: "}',
    ),
    _talk(
        "a chat template that shows it twice", _said("user", "hi"), "where the user's message stands", "once",
        more=', template: {user: "{content} {content}"}',
    ),
    _talk(
        "a chat template of a misspelt role", _said("user", "hi"), "did you mean 'user'", more=', template: {usr: "{content}"}'
    ),
    _words("a CoNLL file with broken columns", SENTENCE * 30 + "Oslo\n", "a.conll:151"),
    _words("one sentence", SENTENCE, "too few rows"),
    _words(
        "words and tags of different length", '{"words": ["a", "b"], "tags": ["O"]}\n' * 30, "2", "1", name="a.jsonl"
    ),
    _series("a series of one row", _hours(1), "1"),
    _series("a time that comes twice", [*_hours(60), "2024-01-01 05:00,3"], "2024-01-01 05:00"),
    _series("a series that is constant", [f"{row.split(',')[0]},1" for row in _hours(60)], "never changes"),
    _series("a word among the numbers of a series", [*_hours(60), "2024-01-03 12:00,much"], "much"),
    _series("a time that is none", [*_hours(60), "yesterday,3"], "yesterday"),
    _series("a time between two steps", [*_hours(60), "2024-01-03 12:20,3"], "2024-01-03 12:20", "data.series.step: 1h"),
)  # fmt: skip
