"""The experiment file: which recipes, with which changes, seeds and folds, are compared on which metric.

    name: cnn-parts
    base: mnist                        # a shipped recipe's name, or a path
    overrides: {training.epochs: 2}    # for every arm
    arms:
      full: {}
      no augmentation: {training.augment: null}
      other: {recipe: other.yaml}      # another recipe, with overrides beside `recipe`
    seeds: 5

Unknown keys, unknown arms and impossible combinations are refused before anything runs.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bedplate.core.errors import BedplateError, InputError, RecipeError, did_you_mean, json_kind, listing
from bedplate.tasks.metrics import ALL_METRICS

Overrides = dict[str, Any]
Levels = dict[str, dict[str, Any]]
"""A factor's levels by key path: each level's name and value."""

MOST_CELLS = 10_000


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class EnsembleSpec(_Section):
    """Members joined to one graph, judged beside the best of them, and packed as one bundle."""

    of: str | list[str] | None = Field(None, description="the arms whose runs are members; left out: the reference")
    combine: Literal["average", "vote"] = "average"


class ExperimentSpec(_Section):
    """An experiment: arms × seeds (× folds), compared with one of the arms."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    base: str = Field(description="the recipe that the arms change: a shipped one's name, or a path")
    overrides: Overrides = Field(default_factory=dict, description="key.path: value, for every arm")
    arms: dict[str, Overrides | str | None] = Field(
        default_factory=dict, description="name: {key.path: value}, or name: another recipe"
    )
    factors: dict[str, list[Any] | dict[str, Any]] = Field(
        default_factory=dict, description="key.path: values; every combination is an arm"
    )
    reference: str | None = Field(None, description="the arm that others are compared with; left out: the first")
    seeds: int | list[int] = Field(1, description="how many, or which")
    folds: Annotated[int, Field(ge=2, le=1000)] | None = Field(None, description="cross-validation in so many folds")
    resplit: bool = Field(False, description="divide the rows anew for every seed")
    metric: str | None = Field(None, description="left out: the task's first (accuracy, RMSE)")
    judged_on: Literal["validation", "test"] | None = Field(
        None, description="the split that arms are compared on; left out: validation (with folds: the fold left out)"
    )
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    until: Literal["evaluate", "pack"] = Field("evaluate", description="how far each run goes")
    ensemble: EnsembleSpec | None = None

    @property
    def seed_list(self) -> list[int]:
        """The seeds, in order."""
        return list(range(self.seeds)) if isinstance(self.seeds, int) else list(self.seeds)

    @property
    def split(self) -> Literal["validation", "test"]:
        """The split on which arms are compared; a fold that is left out is its run's test split."""
        return self.judged_on or ("test" if self.folds else "validation")


class _Loader(yaml.SafeLoader):
    """YAML with 1e-3 read as a number and repeated keys refused, as in recipes."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                what = f"the key '{key.value}' appears twice"
                raise yaml.constructor.ConstructorError(None, None, what, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*\.[\d_]*|\.\d+|\d[\d_]*)([eE][-+]?\d+)?$"),
    list("-+0123456789."),
)


def read_experiment(path: Path) -> ExperimentSpec:
    """Return the experiment that a YAML file describes.

    Raises:
        RecipeError: with every problem that the file itself shows.
        InputError: it can't be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        near = [file.name for file in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
        raise InputError("no such experiment", where=str(path), hint=did_you_mean(path.name, near)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("the experiment can't be read", where=str(path), expected="UTF-8 text") from error
    return parse_experiment(text, name=str(path))


def parse_experiment(text: str, *, name: str = "experiment") -> ExperimentSpec:
    """Return the experiment that `text` (YAML) describes; `name` is what to call it in messages."""
    lines: dict[str, int] = {}
    try:
        node = yaml.compose(text, Loader=_Loader)
        if isinstance(node, yaml.MappingNode):
            lines = {str(key.value): key.start_mark.line + 1 for key, _ in node.value}
        raw = yaml.load(text, Loader=_Loader)  # noqa: S506 - _Loader is a SafeLoader
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{name}:{mark.line + 1}" if mark else name
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise RecipeError([InputError("not valid YAML", where=where, received=problem)]) from error
    if not isinstance(raw, dict):
        received = "nothing" if raw is None else json_kind(raw)
        raise RecipeError(
            [InputError("an experiment is a mapping of keys", where=name, expected="name, base, arms, …",
                        received=received)]
        )  # fmt: skip

    def where_is(key: str) -> str:
        line = lines.get(key.partition(".")[0])
        return f"{name}:{line} {key}" if line else f"{name} {key}".rstrip()

    try:
        spec = ExperimentSpec.model_validate(raw)
    except ValidationError as error:
        raise RecipeError([_explain(dict(item), where_is) for item in error.errors()]) from error
    problems = _combinations(spec)
    for problem in problems:
        problem.where = where_is(problem.where or "")
    if problems:
        raise RecipeError(problems)
    return spec


def _explain(item: dict[str, Any], where_is: Any) -> BedplateError:
    location = [str(step) for step in item["loc"] if not re.match(r"(list|dict|function|constrained)[\[-]", str(step))]
    where, received = where_is(".".join(location)), repr(item["input"])
    received = received if len(received) <= 60 else received[:57] + "…"
    if item["type"] == "extra_forbidden":
        known = list((EnsembleSpec if location[0] == "ensemble" else ExperimentSpec).model_fields)
        word = location[-1]
        return InputError(
            f"unknown key '{word}'", where=where, expected=f"one of {listing(known, 20)}",
            hint=did_you_mean(word, known),
        )  # fmt: skip
    if item["type"] == "missing":
        return InputError("this key is needed", where=where, hint=f"add `{'.'.join(location)}: …`")
    expected = item["msg"].replace("Input should be ", "")
    if item["type"] == "string_pattern_mismatch":
        expected = "letters, digits, '.', '_' and '-', beginning with a letter or digit, 64 at most"
    near = did_you_mean(str(item["input"]), re.findall(r"'([^']*)'", str(item.get("ctx", {}).get("expected", ""))))
    return InputError("wrong value", where=where, expected=expected, received=received, hint=near)


def _combinations(spec: ExperimentSpec) -> list[BedplateError]:
    """Find keys that are each fine but don't go together."""
    found: list[BedplateError] = []
    if bool(spec.arms) == bool(spec.factors):
        found.append(InputError("say what is compared, once", where="arms", expected="either `arms` or `factors`"))
        return found
    seeds = spec.seed_list
    if not seeds or len(set(seeds)) != len(seeds) or min(seeds) < 0 or max(seeds) >= 2**53:
        found.append(
            InputError("not a choice of seeds", where="seeds", expected="a count from 1, or different numbers from 0",
                       received=str(spec.seeds))
        )  # fmt: skip
    for key, levels in spec.factors.items():
        if len(levels) < 2:
            found.append(InputError("a factor needs two levels or more", where=f"factors.{key}"))
        elif len(_levels(levels)) < len(levels):
            found.append(
                InputError("a factor's levels are not all different", where=f"factors.{key}", received=str(levels))
            )
    for name, given in (*spec.arms.items(), ("factors", spec.factors), ("overrides", spec.overrides)):
        if isinstance(given, Mapping) and "seed" in given:
            place = name if name in ("factors", "overrides") else f"arms.{name}"
            found.append(
                InputError("the seed is no part of an arm", where=place,
                           hint="`seeds: 5` or `seeds: [4, 7]` runs every arm with each of them")
            )  # fmt: skip
    arms = arms_of(spec) if not found else {}
    for arm in {spec.reference, *_members(spec)} - {None} if arms else ():
        if arm not in arms:
            where = "reference" if arm == spec.reference else "ensemble.of"
            found.append(
                InputError(f"no arm '{arm}'", where=where, expected=f"one of {listing(arms)}",
                           hint=did_you_mean(str(arm), arms))
            )  # fmt: skip
    if spec.metric is not None and spec.metric not in ALL_METRICS:
        found.append(
            InputError(f"unknown metric '{spec.metric}'", where="metric", expected=f"one of {listing(ALL_METRICS)}",
                       hint=did_you_mean(spec.metric, ALL_METRICS))
        )  # fmt: skip
    if spec.folds and spec.judged_on == "validation":
        found.append(
            InputError("cross-validation judges on the fold that is left out", where="judged_on",
                       expected="judged_on: test, or nothing")
        )  # fmt: skip
    if len(arms) * len(seeds) * (spec.folds or 1) > MOST_CELLS:
        found.append(InputError("too many runs", where="arms", expected=f"at most {MOST_CELLS:,}"))
    return found


def _members(spec: ExperimentSpec) -> list[str]:
    """Return the arms that the file names for the ensemble."""
    of = spec.ensemble.of if spec.ensemble else None
    return [of] if isinstance(of, str) else list(of or ())


def ensemble_arms(spec: ExperimentSpec) -> list[str]:
    """Return the arms whose runs are the ensemble's members."""
    return _members(spec) or [reference_of(spec)]


def reference_of(spec: ExperimentSpec) -> str:
    """Return the arm that others are compared with."""
    return spec.reference or next(iter(arms_of(spec)))


def _levels(values: list[Any] | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(values, Mapping):
        return {str(name): value for name, value in values.items()}
    return {"none" if value is None else str(value).lower() if isinstance(value, bool) else str(value): value
            for value in values}  # fmt: skip


def arms_of(spec: ExperimentSpec) -> dict[str, tuple[str, Overrides]]:
    """Return each arm by name: its recipe, and what it overrides beyond `spec.overrides`."""
    if spec.arms:
        found = {}
        for name, given in spec.arms.items():
            own = {"recipe": given} if isinstance(given, str) else dict(given or {})
            found[name] = (str(own.pop("recipe", spec.base)), own)
        return found
    short = {key: key.rpartition(".")[2] for key in spec.factors}
    names = {key: short[key] if list(short.values()).count(short[key]) == 1 else key for key in short}
    levels = [[(key, label, value) for label, value in _levels(values).items()] for key, values in spec.factors.items()]
    return {
        ", ".join(f"{names[key]}={label}" for key, label, _ in combination): (
            spec.base, {key: value for key, _, value in combination}
        )
        for combination in itertools.product(*levels)
    }  # fmt: skip
