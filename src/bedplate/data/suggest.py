"""Look at data that nobody has described, and propose the recipe's `data` section, with reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bedplate.codecs.columns import MISSING_LABELS
from bedplate.codecs.delimited import decode_text, guess_encoding, open_delimited, parse_lines, sniff_delimiter
from bedplate.codecs.files import is_archive, walk
from bedplate.codecs.numbers import parse_number
from bedplate.core.errors import DataError, did_you_mean, listing
from bedplate.data.dataset import Dataset
from bedplate.data.embedded import EMBEDDED_IMAGES, EMBEDDED_TABLES
from bedplate.data.language import ENDINGS
from bedplate.data.language_tables import is_text_table
from bedplate.data.layout import IMAGE_SUFFIXES, SPLIT_NAMES
from bedplate.data.load import load_dataset
from bedplate.data.named import NAMED
from bedplate.data.pair_pool import is_parallel
from bedplate.data.schema import infer_column
from bedplate.data.splits import check_rows
from bedplate.data.suggest_labels import indicator_columns, label_column, list_column, several_labels, told
from bedplate.data.suggest_language import is_prose, suggest_language
from bedplate.data.suggest_pair import suggest_columns, suggest_parallel, suggest_talks
from bedplate.data.suggest_sentence import holds_sentences, suggest_sentences
from bedplate.data.suggest_series import suggest_series
from bedplate.data.suggest_text import check_task, guess_column, holds_texts, long_texts, tell_unread, text_column_of
from bedplate.data.tables import PACKED_SUFFIXES, TABLE_SUFFIXES, RawTable, counted, read_table, unpack
from bedplate.data.talk_pool import NO_TALKS
from bedplate.data.targets import check_target, guess_task
from bedplate.data.text_pool import text_column
from bedplate.recipe.schema import ColumnSpec, DataSpec

_IMAGES, _TEXTS, _VECTORS = "image-classification", "text-classification", "text-embedding"
_NAMED_TEXTS = tuple(name for name, named in NAMED.items() if named.kind == "texts")
_NAMED_IMAGES = (*EMBEDDED_IMAGES, "mnist", "fashion-mnist", "cifar10-jpeg")
_SERIES, _LANGUAGE, _SENTENCES = "forecasting", "language-modelling", "token-classification"
_PAIRS, _SETS = "text-to-text", "multi-label-classification"
_ORDER = (
    "source", "files", "target", "label_columns", "text", "series", "names", "delimiter", "encoding", "comment",
    "columns", "on_bad_row",
)  # fmt: skip
_AS_PROSE = "; a plain text, or a folder of them, is learnt with --task language-modelling"
_COMMENTS = ("#", "%", "//", "|", "@")


@dataclass
class Suggestion:
    """What was found. `data` is the recipe's data section; it loads as it is, with paths absolute.

    `facts` holds rows, train_rows, features, classes (0 for a number), smallest_class, and, for images, height, width
    and channels. `schema` is the dataset's, as JSON.
    """

    task: str
    data: dict[str, Any]
    reasons: list[str] = field(default_factory=list)
    schema: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


def suggest(
    path: Path | str, target: str | None = None, task: str | None = None, time: str | None = None
) -> Suggestion:
    """Inspect a table, a folder or archive of images or texts by class, or an embedded or named set.

    Args:
        path: where the data lies; for a table also a folder with train and test files, or a zip with one table.
        target: the column to predict; None to guess it.
        task: what is asked, where the data leaves it open: a table that has a column of texts beside others, or one of
            times; texts with labels, which may also be told apart by vectors, or have several each.
        time: the column of times, for a forecast.

    Raises:
        DataError: the data can't be read, or nothing in it can be predicted.
        InputError: the task isn't one for this data.
    """
    if time is not None and task is None:
        task = _SERIES
    found = _suggest(path, target, task, time)
    check_task(task, found.task)
    return found


def _suggest(path: Path | str, target: str | None, task: str | None, time: str | None) -> Suggestion:
    text = str(path)
    if text in _NAMED_TEXTS and not Path(text).exists():
        asked = task if task == _VECTORS else _TEXTS
        return _proven(Suggestion(asked, {"source": text}, [f"'{text}' is a known set of texts"]))
    if text in EMBEDDED_TABLES or (text in _NAMED_IMAGES and not Path(text).exists()):
        return _known(text, target)
    where = Path(path).expanduser()
    if is_parallel(text) and task in (None, _PAIRS) and not where.exists():
        return _proven(Suggestion(_PAIRS, *suggest_parallel(text)))
    if not where.exists():
        near = (
            did_you_mean(where.name, [entry.name for entry in where.parent.iterdir()])
            if where.parent.is_dir()
            else None
        )
        raise DataError(
            "no such file or folder",
            where=text,
            expected="a table, CoNLL files, or a folder or archive of images or texts by class",
            hint=near,
        )
    where = where.resolve()
    data: dict[str, Any] = {}
    reasons: list[str] = []
    if task == _LANGUAGE:
        if is_text_table(where):
            _reading(where, data, reasons)
        suggest_language(where, data, reasons, target)
        return _proven(Suggestion(_LANGUAGE, _in_order(data), reasons))
    if task is None and target is None and is_prose(where):
        reasons.append("language-modelling: this is plain text, not a table; if it is one, name its --target")
        suggest_language(where, data, reasons)
        return _proven(Suggestion(_LANGUAGE, data, reasons))
    if task == _SENTENCES or (task is None and target is None and holds_sentences(where)):
        suggest_sentences(where, data, reasons)
        return _proven(Suggestion(_SENTENCES, data, reasons))
    tables = _tables(where)
    talks = suggest_talks(tables) if tables and target is None and task in (None, _PAIRS) else None
    if talks is not None:
        return _proven(Suggestion(_PAIRS, *talks))
    if task == _PAIRS and tables:
        return _proven(Suggestion(_PAIRS, *suggest_columns(tables, target)))
    if not tables and holds_texts(where):
        asked = task if task == _VECTORS else _TEXTS
        return _proven(Suggestion(asked, {"source": str(where)}, ["texts in a folder for each class"]))
    if not tables:
        return _suggest_images(where)
    return _suggest_table(tables, target, task, time)


def _known(source: str, target: str | None) -> Suggestion:
    if source in _NAMED_IMAGES:
        found = Suggestion(_IMAGES, {"source": source}, [f"'{source}' is a known set of images"])
        return _proven(found)
    chosen = target or EMBEDDED_TABLES[source]
    task = "tabular-regression" if source == "diabetes" and target is None else None
    if task is None:
        from bedplate.data.embedded import embedded_table

        columns = embedded_table(source).columns
        task = guess_task(columns[check_target(columns, chosen, source)], chosen)[0]
    return _proven(Suggestion(task, {"source": source, "target": chosen}, [f"'{source}' comes with scikit-learn"]))


def _tables(where: Path) -> dict[str, Path]:
    """Return the tables at a path by split ("train" alone for one table), or nothing where there are none."""
    if where.is_dir():
        files = [file for file in sorted(where.iterdir()) if file.is_file() and _is_table(file)]
        if not files or any(file.suffix.lower() in IMAGE_SUFFIXES for file in where.rglob("*") if file.is_file()):
            return {}
        named: dict[str, Path] = {}
        for file in files:
            split = SPLIT_NAMES.get(file.name.split(".")[0].lower())
            if split:
                named.setdefault(split, file)
        if "train" in named:
            return named
        if len(files) == 1:
            return {"train": files[0]}
        raise DataError(
            "the folder holds several tables",
            where=str(where),
            received=listing(file.name for file in files),
            hint="name one of them, or call them train.csv and test.csv"
            + (_AS_PROSE if any(file.suffix.lower() in ENDINGS for file in files) else ""),
        )
    if is_archive(where) and not _holds_table(where):
        return {}
    if where.suffix.lower() in IMAGE_SUFFIXES:
        raise DataError(
            "one image is no dataset", where=str(where), expected="a table, or a folder or archive of images by class"
        )
    return {"train": where}


def _is_table(file: Path) -> bool:
    plain = file.name.lower()
    for suffix in PACKED_SUFFIXES:
        plain = plain.removesuffix(suffix)
    return plain.endswith(TABLE_SUFFIXES) and not is_archive(Path(plain)) and "readme" not in plain


def _holds_table(archive: Path) -> bool:
    """Whether a zip holds one table and no images."""
    if not archive.name.lower().endswith(".zip"):
        return False
    suffixes = [Path(member.name).suffix.lower() for member in walk(archive)]
    return not any(suffix in IMAGE_SUFFIXES for suffix in suffixes) and sum(s in TABLE_SUFFIXES for s in suffixes) == 1


def _suggest_images(where: Path) -> Suggestion:
    found = Suggestion(_IMAGES, {"source": str(where)}, ["images in a folder for each class"])
    return _proven(found)


def _suggest_table(tables: dict[str, Path], target: str | None, wanted: str | None, time: str | None) -> Suggestion:
    data: dict[str, Any] = {}
    reasons: list[str] = []
    first = tables["train"]
    headless = _reading(first, data, reasons)
    table = _read_leniently(first, data, reasons)
    check_rows(len(table), first.name)
    if wanted == _SERIES:
        if target is not None:
            check_target(table.columns, target, first.name)
        data["source"] = str(first)
        suggest_series(table, target, time, data, reasons)
        return _proven(Suggestion(_SERIES, _in_order(data), reasons))
    sets = wanted == _SETS or (wanted is None and list_column(table, target) is not None)
    if target is not None:
        check_target(table.columns, target, first.name)
    apart = indicator_columns(table, target) if wanted == _SETS else []
    if apart:
        target = apart[0]
        reasons.append(f"{_SETS}, label_columns {listing(apart)}: they hold zeros and ones")
    elif sets:
        target, why = label_column(table, target)
        reasons.append(f"{_SETS}, target '{target}': {why}; {told(table, target)}")
    elif target is None:
        target, why = guess_column(table, headless, wanted == _VECTORS)
        reasons.append(f"target '{target}': {why}; choose another with --target")
    official = {
        split: file for split, file in tables.items() if split == "train" or _has_target(file, data, table, target)
    }
    for split in tables.keys() - official.keys():
        reasons.append(
            f"{tables[split].name} is left out: it has other columns than {first.name} (no '{target}', for one)"
        )
    if len(official) > 1:
        data["files"] = {split: str(official[split]) for split in ("train", "validation", "test") if split in official}
    else:
        data["source"] = str(first)
    data["target"] = target
    if apart:
        del data["target"]
        data["label_columns"] = apart
    if sets:
        data["text"] = {"column": text_column(table, target, DataSpec())}
        tell_unread(table, (data["text"]["column"], target, *apart), reasons)
        return _proven(Suggestion(_SETS, _in_order(data), reasons))
    columns: dict[str, dict[str, Any]] = {}
    task = _target(table, target, data, columns, reasons)
    several = several_labels(table, target) if wanted is None and task == "tabular-classification" else None
    if several:
        reasons.append(several)
    if task == "tabular-classification" and wanted in (None, _TEXTS, _VECTORS):
        task = _texts_in(table, target, wanted, data, reasons)
    if task not in (_TEXTS, _VECTORS):
        _infinities(table, target, columns, reasons)
    if columns:
        data["columns"] = columns
    return _proven(Suggestion(task, _in_order(data), reasons))


def _texts_in(table: RawTable, target: str, wanted: str | None, data: dict[str, Any], reasons: list[str]) -> str:
    """Return the task of a table with classes: to read one column's texts, or to read all columns."""
    found = text_column_of(table, target)
    if found is None and wanted is None:
        if texts := long_texts(table, target):
            reasons.append(
                f"note: the texts of {listing(texts)} aren't read beside other columns; --task text-classification "
                "reads one column of them, and nothing else"
            )
        return "tabular-classification"
    column, why = found or (text_column(table, target, DataSpec()), "the longest texts are there")
    data["text"] = {"column": column}
    tell_unread(table, (column, target), reasons)
    if wanted == _VECTORS:
        reasons.append(f"text-embedding of '{column}', where texts of one '{target}' belong together: {why}")
        return _VECTORS
    reasons.append(f"text-classification of '{column}': {why}")
    return _TEXTS


def _in_order(data: dict[str, Any]) -> dict[str, Any]:
    return {key: data[key] for key in _ORDER if key in data}


def _reading(file: Path, data: dict[str, Any], reasons: list[str]) -> bool:
    """Find out how a delimited file is to be read; return whether it has no header."""
    content = unpack(file)
    plain = file.name.lower()
    for suffix in PACKED_SUFFIXES:
        plain = plain.removesuffix(suffix)
    if content[:4] == b"PAR1" or plain.endswith((".parquet", ".pq", ".json", ".jsonl", ".ndjson")):
        return False
    if not content.strip():
        raise DataError("the file is empty", where=str(file), expected="a header and rows, or rows")
    encoding = None
    try:
        text = decode_text(content, None, file.name)
    except DataError:
        encoding = guess_encoding(content)
        if encoding is None:
            raise
        text = decode_text(content, encoding, file.name)
        data["encoding"] = encoding
        reasons.append(f"encoding {encoding}: the bytes are not UTF-8, and read well as this")
    comment = _comment(text)
    if comment:
        data["comment"] = comment
        reasons.append(f"lines that begin with '{comment}' are comments")
    opened = open_delimited(content, file.name, encoding=encoding, comment=comment)
    if opened.delimiter != ",":
        data["delimiter"] = opened.delimiter
        shown = {"\t": "a tab", " ": "blanks"}.get(opened.delimiter, f"'{opened.delimiter}'")
        reasons.append(f"delimiter {shown}: it gives the same number of values in nearly every line")
    if not opened.header:
        data["names"] = list(opened.names)
        reasons.append(
            f"no header: the first line holds values, so columns are called {opened.names[0]} to {opened.names[-1]}"
        )
    return not opened.header


def _comment(text: str) -> str | None:
    """Return the mark that opens comment lines at the top of a file, where one clearly does."""
    lines = [line for line in text[:100_000].splitlines() if line.strip()]
    for mark in _COMMENTS:
        marked = [place for place, line in enumerate(lines) if line.startswith(mark)]
        if not marked or marked[0] != 0 or len(marked) > len(lines) // 2:
            continue
        rest = "\n".join(line for line in lines if not line.startswith(mark))
        delimiter = sniff_delimiter(rest)
        widths = Counter(len(cells) for _, cells in parse_lines(rest, delimiter, None))
        usual = widths.most_common(1)[0][0] if widths else 0
        # One line of the usual width, as `#id,name`, is a header that begins with a mark; a comment is not.
        if len(marked) > 1 or len(next(parse_lines(lines[0], delimiter, None))[1]) != usual:
            return mark
    return None


def _read_leniently(file: Path, data: dict[str, Any], reasons: list[str]) -> RawTable:
    spec = DataSpec(
        source=str(file), **{key: data[key] for key in ("names", "delimiter", "encoding", "comment") if key in data}
    )
    try:
        return read_table(file, spec)
    except DataError as error:
        if "number of values" not in error.what and "JSON object" not in error.what:
            raise
        table = read_table(file, spec.model_copy(update={"on_bad_row": "skip"}))
        if len(table.skipped) > max(5, len(table) // 10):
            hint = f"{error.hint}{_AS_PROSE if file.suffix.lower() in ENDINGS else ''}"
            raise DataError(
                error.what, where=error.where, expected=error.expected, received=error.received, hint=hint
            ) from None
        data["on_bad_row"] = "skip"
        row, why = table.skipped[0]
        reasons.append(
            f"on_bad_row: skip, for {counted(len(table.skipped))} that can't be read; the first is {row}: {why}"
        )
        return table


def _has_target(file: Path, data: dict[str, Any], first: RawTable, target: str) -> bool:
    """Whether another split's file has the columns of the training file, the target among them, and holds it."""
    spec = DataSpec(
        source=str(file), **{key: data[key] for key in ("names", "delimiter", "encoding", "comment") if key in data}
    )
    try:
        table = read_table(file, spec.model_copy(update={"on_bad_row": "skip"}))
    except DataError:
        return False
    if set(table.columns) != set(first.columns):
        return False
    return any(value is not None and str(value).strip() not in MISSING_LABELS for value in table.columns[target])


def _target(
    table: RawTable, target: str, data: dict[str, Any], columns: dict[str, dict[str, Any]], reasons: list[str]
) -> str:
    """Judge the target: its task, texts in it that mean missing, and rows without it."""
    values = table.columns[target]
    schema = infer_column(target, values)
    spec = ColumnSpec(missing=list(schema.missing))
    task, why = guess_task(values, target, spec)
    if schema.missing and task == "tabular-regression":
        columns[target] = {"missing": list(schema.missing)}
        reasons.append(f"in '{target}', {listing(repr(text) for text in schema.missing)} is taken for missing")
    reasons.append(f"{task}: {why}")
    lacking = sum(_absent(value, set(schema.missing)) for value in values)
    if lacking:
        data["on_bad_row"] = "skip"
        reasons.append(f"on_bad_row: skip, for {counted(lacking)} without a target")
    return task


def _absent(value: Any, missing: set[str]) -> bool:
    if isinstance(value, str):
        return value.strip() in MISSING_LABELS or value.strip() in missing
    return value is None or value != value


def _infinities(table: RawTable, target: str, columns: dict[str, dict[str, Any]], reasons: list[str]) -> None:
    """A column of numbers with infinities loads when those texts are declared missing."""
    for name, values in table.columns.items():
        if name == target:
            continue
        texts = {value.strip() for value in values if isinstance(value, str)}
        infinite = sorted(
            text for text in texts if (number := parse_number(text)) is not None and abs(number) == float("inf")
        )
        if infinite and infer_column(name, values).type == "number":
            columns[name] = {"missing": infinite}
            reasons.append(f"in '{name}', {listing(infinite)} is taken for missing")


def _proven(found: Suggestion) -> Suggestion:
    """Load the data as proposed, so that what is written is known to load; add what loading found."""
    try:
        dataset = _load(found)
    except DataError as error:
        if found.data.get("on_bad_row") == "skip" or "on_bad_row: skip" not in (error.hint or ""):
            raise
        found.data["on_bad_row"] = "skip"
        try:
            dataset = _load(found)
        except DataError as left:  # where talks are at fault in every row, the first says more than that none is left
            raise error if left.what == NO_TALKS else left from None
        found.reasons.append(f"on_bad_row: skip, since not every row can be read: {error.message.split('. mend')[0]}")
    found.schema = dict(dataset.schema)
    dates = [column["name"] for column in dataset.schema.get("columns", []) if _is_moment(column)]
    if dates and "files" not in found.data:
        found.reasons.append(
            f"rows are divided at random; if later rows are to be predicted from earlier ones, set data.split: "
            f"{{by: time, column: {dates[0]}}}"
        )
    found.reasons += [note for note in dataset.notes if note not in found.reasons]
    found.facts = _facts(dataset)
    return found


def _is_moment(column: dict[str, Any]) -> bool:
    """Whether a column of a schema holds dates rather than times of day."""
    return bool(column["type"] == "date" and column["form"] != "clock")


def _load(found: Suggestion) -> Dataset:
    spec = DataSpec.model_validate(found.data)
    return load_dataset(spec, found.task, 0, base=Path.cwd(), announce=lambda text: None)


def _facts(dataset: Dataset) -> dict[str, Any]:
    spec = dataset.codec.feature_spec()
    labels: Sequence[str] = dataset.answers.labels or ()
    balance = dataset.profile.get("balance") or {}
    facts: dict[str, Any] = {
        "rows": len(dataset.train) + len(dataset.validation) + len(dataset.test),
        "train_rows": len(dataset.train),
        "classes": len(labels),
        "smallest_class": min(balance.values()) if balance else None,
    }
    if spec["kind"] == "series":
        return facts | {"length": spec["length"], "horizon": dataset.answers.horizon}
    if spec["kind"] == "sentence":
        return facts | {"tags": len(dataset.answers.tags or ()), "vocabulary": spec["vocabulary"]}
    if spec["kind"] == "language":
        facts |= {"tokens": int((dataset.train.targets >= 0).sum())}
    if spec["kind"] in ("language", "text"):
        return facts | {key: spec[key] for key in ("vocabulary", "length")}
    if spec["kind"] == "image":
        return facts | {key: spec[key] for key in ("height", "width", "channels")}
    used = sum(bool(column["used"]) for column in dataset.schema["columns"])
    return facts | {"features": used, "numeric": spec["numeric"], "categories": len(spec["categories"])}
