"""Turn YAML into a typed recipe, or into all of its problems at once, each with its file, line and remedy."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from bedplate.core.errors import BedplateError, InputError, RecipeError, did_you_mean, json_kind, json_text, listing
from bedplate.core.files import write_text
from bedplate.core.hashing import fingerprint
from bedplate.recipe.schema import Part, Recipe, TrainingSpec

Raw = dict[str, Any]
Checker = Callable[[Raw], Iterable[BedplateError]]
"""Finds problems that need more than the schema, such as the arguments of a registered model."""


class _Loader(yaml.SafeLoader):
    """YAML with floats such as 1e-3 read as numbers, and repeated keys refused."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*\.[\d_]*|\.\d+|\d[\d_]*)([eE][-+]?\d+)?$|^[-+]?\.(inf|Inf|INF)$|^\.(nan|NaN|NAN)$"),
    list("-+0123456789."),
)
# The integer resolver comes first in PyYAML's table, so plain integers stay integers.


_MOST_DEPTH = 50
_PLAINER = {
    "model_type": "a mapping of keys",
    "string_pattern_mismatch": "letters, digits, '.', '_' and '-', beginning with a letter or digit, 64 at most",
    "int_parsing": "a whole number",
    "float_parsing": "a number",
}


class Lines:
    """Knows on which line of which file a key path stands, or which --set wrote it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lines: dict[str, int] = {}
        self.overridden: dict[str, str] = {}

    def locate(self, path: str) -> str:
        """Return `file:line key` (or `--set key=value`) for a dotted key path, falling back to its parents."""
        for text_path, text in self.overridden.items():
            if path == text_path or path.startswith(text_path + ".") or text_path.startswith(path + "."):
                return f"--set {text}"
        probe = path
        while probe and probe not in self.lines:
            probe = probe.rpartition(".")[0]
        line = self.lines.get(probe)
        return f"{self.name}:{line} {path}" if line else f"{self.name} {path}".rstrip()


def _walk(
    node: yaml.Node, path: str, lines: Lines, problems: list[BedplateError], above: frozenset[int] = frozenset()
) -> None:
    if id(node) in above:
        problems.append(
            InputError("the value refers to itself", where=f"{lines.name}:{node.start_mark.line + 1} {path}")
        )
        return
    above |= {id(node)}
    if len(above) > _MOST_DEPTH:
        problems.append(
            InputError("nested too deep", where=f"{lines.name}:{node.start_mark.line + 1}", expected="a few levels")
        )
        return
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            child = f"{path}.{name}" if path else name
            if name in seen:
                problems.append(
                    InputError("the key appears twice", where=f"{lines.name}:{key.start_mark.line + 1} {child}")
                )
            seen.add(name)
            lines.lines[child] = key.start_mark.line + 1
            _walk(value, child, lines, problems, above)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines.lines[f"{path}.{index}"] = value.start_mark.line + 1
            _walk(value, f"{path}.{index}", lines, problems, above)


def _read(text: str, name: str) -> tuple[Raw, Lines]:
    lines = Lines(name)
    problems: list[BedplateError] = []
    try:
        node = yaml.compose(text, Loader=_Loader)
        if node is not None:
            _walk(node, "", lines, problems)
        if problems:
            raise RecipeError(problems)
        raw = yaml.load(text, Loader=_Loader)  # noqa: S506 - _Loader is a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{name}:{mark.line + 1}" if mark else name
        raise RecipeError([InputError("not valid YAML", where=where, received=error.problem or "")]) from error
    except yaml.YAMLError as error:
        raise RecipeError([InputError("not valid YAML", where=name, received=str(error).splitlines()[0])]) from error
    except RecursionError as error:
        raise RecipeError([InputError("nested too deep", where=name, expected="a few levels")]) from error
    if not isinstance(raw, dict):
        kind = "nothing" if raw is None else json_kind(raw)
        raise RecipeError(
            [InputError("a recipe is a mapping of keys", where=name, expected="name, task, data, …", received=kind)]
        )
    return raw, lines


def _override(raw: Raw, overrides: Sequence[str], lines: Lines) -> None:
    """Write each `key.path=value` (value in YAML) into `raw`."""
    problems: list[BedplateError] = []
    for text in overrides:
        path, equals, value = text.partition("=")
        keys = path.strip().split(".")
        if not equals or not all(keys):
            problems.append(
                InputError("not a key=value", where=f"--set {text}", expected="key.path=value", received=repr(text))
            )
            continue
        try:
            parsed = yaml.load(value, Loader=_Loader)  # noqa: S506
        except yaml.YAMLError as error:
            problems.append(
                InputError("the value is not valid YAML", where=f"--set {text}", received=str(error).splitlines()[0])
            )
            continue
        at: Any = raw
        for key in keys[:-1]:
            value_there = at.get(key)
            if key in _PARTS and isinstance(value_there, str):
                value_there = {"name": value_there}
            at[key] = dict(value_there) if isinstance(value_there, Mapping) else {}
            at = at[key]
        at[keys[-1]] = parsed
        lines.overridden[".".join(keys)] = text
    if problems:
        raise RecipeError(problems)


def _sections(annotation: Any) -> list[type[BaseModel]]:
    """Return the schema classes inside an annotation such as `Section | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, typing.Annotated, dict):
        return [section for inner in typing.get_args(annotation) for section in _sections(inner)]
    return []


def _known_keys(location: Sequence[str | int]) -> list[str]:
    """Return the keys that the schema knows at the level that holds `location`'s last key."""
    level: type[BaseModel] = Recipe
    for step in location[:-1]:
        field = level.model_fields.get(str(step))
        inner = _sections(field.annotation) if field else []
        if inner:
            level = inner[0]
        elif field is not None:
            return []
    return list(level.model_fields)


def _own_keys(location: Sequence[str | int], raw: Raw) -> list[str | int]:
    """Return an error's place without the names that pydantic adds for the branches of a union."""
    found: list[str | int] = []
    at: Any = raw
    for index, step in enumerate(location):
        inside = (isinstance(at, Mapping) and step in at) or (isinstance(at, list) and isinstance(step, int))
        if inside:
            at = at[step] if isinstance(at, Mapping) or int(step) < len(at) else None
            found.append(step)
        elif isinstance(at, Mapping) and index == len(location) - 1:
            found.append(step)  # a key that is missing
    return found


def _explain(error: ValidationError, lines: Lines, raw: Raw) -> list[BedplateError]:
    problems: list[BedplateError] = []
    for item in error.errors():
        location = _own_keys(item["loc"], raw)
        path = ".".join(map(str, location))
        where = lines.locate(path)
        received = json_text(item["input"])
        match item["type"]:
            case "extra_forbidden":
                known = _known_keys(location)
                word = str(location[-1])
                problems.append(
                    InputError(
                        f"unknown key '{word}'",
                        where=where,
                        expected=f"one of {listing(known, 40)}",
                        hint=did_you_mean(word, known),
                    )
                )
            case "missing":
                problems.append(InputError("this key is needed", where=where, hint=f"add `{path}: …`"))
            case "literal_error":
                expected = str(item["ctx"]["expected"])
                words = re.findall(r"'([^']*)'", expected)
                problems.append(
                    InputError(
                        "not a known value",
                        where=where,
                        expected=expected,
                        received=received,
                        hint=did_you_mean(str(item["input"]), words),
                    )
                )
            case _:
                expected = _PLAINER.get(item["type"]) or item["msg"].replace("Input should be ", "")
                problems.append(InputError("wrong value", where=where, expected=expected, received=received))
    return _merged(problems)


def _merged(problems: Sequence[BedplateError]) -> list[BedplateError]:
    """Put the problems of one value, one for each branch of a union, into one: either branch would do."""
    found: list[BedplateError] = []
    for problem in problems:
        same = next((p for p in found if p.where == problem.where and {p.what, problem.what} <= _OF_A_VALUE), None)
        if same is None:
            found.append(problem)
        elif problem.expected != same.expected:
            same.expected = f"{same.expected}, or {problem.expected}"
    return found


_OF_A_VALUE = {"wrong value", "not a known value"}


_PARTS = ("model", "objective", "optimizer", "schedule", "augment")


def _part_shorthand(raw: Raw) -> None:
    """Let `model: cnn` stand for `model: {name: cnn}` wherever a registered part is named.

    An optimiser without a name is the default one, so that `--set training.optimizer.lr=…` needs none in the file.
    """
    training = raw.get("training")
    for level, keys in ((raw, _PARTS[:2]), (training, _PARTS[2:])):
        if isinstance(level, dict):
            for key in keys:
                if isinstance(level.get(key), str):
                    level[key] = {"name": level[key]}
                elif isinstance(level.get(key), list):
                    level[key] = [{"name": item} if isinstance(item, str) else item for item in level[key]]
    if not isinstance(training, dict):
        return
    optimizer = training.get("optimizer")
    if isinstance(optimizer, dict) and "name" not in optimizer:
        usual = TrainingSpec().optimizer
        training["optimizer"] = {"name": usual.name, **usual.arguments, **optimizer}


def _worker_shorthand(raw: Raw) -> None:
    """Let `workers: 2` stand for `workers: {count: 2}`, so that the other keys can be overridden beside it."""
    training = raw.get("training")
    if isinstance(training, dict) and type(training.get("workers")) is int:
        training["workers"] = {"count": training["workers"]}


def parse(text: str, *, name: str = "recipe", overrides: Sequence[str] = (), check: Sequence[Checker] = ()) -> Recipe:
    """Return the recipe that `text` (YAML) and `overrides` describe.

    Args:
        text: the recipe.
        name: what to call it in messages, usually its path.
        overrides: `key.path=value` texts, checked like the file itself.
        check: finders of problems that the schema can't know; their `where` is a dotted key path.

    Raises:
        RecipeError: with every problem found.
    """
    raw, lines = _read(text, name)
    _worker_shorthand(raw)
    _override(raw, overrides, lines)
    _part_shorthand(raw)
    problems: list[BedplateError] = []
    recipe: Recipe | None = None
    try:
        recipe = Recipe.model_validate(raw)
    except ValidationError as error:
        problems += _explain(error, lines, raw)
    for checker in check:
        for problem in checker(raw):
            problem.where = lines.locate(problem.where or "")
            problems.append(problem)
    if recipe is None or problems:
        raise RecipeError(problems)
    return recipe


def load(path: Path, *, overrides: Sequence[str] = (), check: Sequence[Checker] = ()) -> Recipe:
    """Read a recipe file; see `parse`."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        near = did_you_mean(path.name, [p.name for p in path.parent.glob("*.y*ml")]) if path.parent.is_dir() else None
        raise InputError(
            "no such recipe", where=str(path), hint=near or "`bedplate recipes` lists those that come with Bedplate"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror or str(error) if isinstance(error, OSError) else f"byte 0x{error.object[error.start]:02x}"
        raise InputError("the recipe can't be read", where=str(path), expected="UTF-8 text", received=why) from error
    return parse(text, name=str(path), overrides=overrides, check=check)


def to_dict(recipe: Recipe) -> Raw:
    """Return the recipe as plain data, every default written out."""
    return recipe.model_dump(mode="json")


def to_yaml(recipe: Recipe) -> str:
    """Return the fully resolved recipe as YAML."""
    return str(yaml.safe_dump(to_dict(recipe), sort_keys=False, allow_unicode=True, width=110))


def save(recipe: Recipe, path: Path) -> None:
    """Write the fully resolved recipe."""
    write_text(path, to_yaml(recipe))


def recipe_fingerprint(recipe: Recipe) -> str:
    """Return the SHA-256 of the resolved recipe: equal recipes have equal fingerprints, however they were written."""
    return fingerprint(to_dict(recipe))


def json_schema(parts: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Any]:
    """Return the recipe's JSON Schema for editors.

    Args:
        parts: for the keys `model`, `objective`, `optimizer`, `schedule` and `augment`, the schema of the registered
            parts that fit there (`bedplate schema` fills them in where the workshop is installed).
    """
    schema = Recipe.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "Bedplate recipe"
    for key, part in (parts or {}).items():
        owner = schema["properties"] if key in schema["properties"] else schema["$defs"]["TrainingSpec"]["properties"]
        text = {"type": "string", "enum": [option["properties"]["name"]["const"] for option in part["oneOf"]]}
        owner[key] = {"anyOf": [part, text, {"type": "null"}]}
    return schema


__all__ = ["Part", "json_schema", "load", "parse", "recipe_fingerprint", "save", "to_dict", "to_yaml"]
