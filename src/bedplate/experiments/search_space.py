"""The space that a sweep searches: given in the recipe or on the command line, or suggested from the recipe itself."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from bedplate.core.errors import BedplateError, InputError, RecipeError
from bedplate.recipe.load import parse, to_dict
from bedplate.recipe.schema import Recipe
from bedplate.recipe.search import Dimension, parse_dimension, read_number
from bedplate.stages.resolve import Resolved, check_parts, portable

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

MOST_GRID_POINTS = 10_000

_NOT_SEARCHED = {
    "name": "it doesn't touch the weights",
    "evaluation": "it doesn't touch the weights",
    "compression": "it doesn't touch the weights",
    "gate": "it doesn't touch the weights",
    "serving": "it doesn't touch the weights",
    "search": "it is the search itself",
    "plugins": "trials share the plug-ins",
    "task": "another task has other figures",
    "seed": "another seed judges on other validation rows, and the luckiest seed is not a better recipe",
    "data.split": "trials would be judged on different validation rows",
}


@dataclass(frozen=True)
class SearchSpace:
    """Dotted keys of the recipe and the values that each may take.

    Attributes:
        dimensions: the keys, in the order given, widened so that the recipe's own values lie inside.
        own: the recipe's own value of each key; a key that can't hold it (null in a range, 0 on a logarithm) is absent.
        suggested: whether the recipe said nothing and the space was chosen for it.
        notes: what was widened, for people.
    """

    dimensions: dict[str, Dimension]
    own: dict[str, Any]
    suggested: bool = False
    notes: list[str] = field(default_factory=list)

    def distributions(self) -> dict[str, BaseDistribution]:
        """Return the space as optuna's distributions; choices are the JSON texts of their values."""
        return {key: distribution(dimension) for key, dimension in self.dimensions.items()}

    def encode(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return values as optuna stores them."""
        return {
            key: json.dumps(value, sort_keys=True) if self.dimensions[key].choices is not None else value
            for key, value in values.items()
        }

    def decode(self, stored: Mapping[str, Any]) -> dict[str, Any]:
        """Return stored values as the recipe has them, in the space's order."""
        return {
            key: json.loads(stored[key]) if dimension.choices is not None else stored[key]
            for key, dimension in self.dimensions.items()
            if key in stored
        }

    def grid(self) -> list[dict[str, Any]]:
        """Return every point of the grid but the recipe's own.

        Raises:
            InputError: there are more than 10,000.
        """
        places = [dimension.grid() for dimension in self.dimensions.values()]
        count = math.prod(map(len, places))
        if count > MOST_GRID_POINTS:
            raise InputError(
                "the grid has too many points",
                where="search.space",
                expected=f"{MOST_GRID_POINTS:,} at most",
                received=f"{count:,}",
                hint="give fewer choices or points, or another sampler",
            )
        points = [dict(zip(self.dimensions, values, strict=True)) for values in itertools.product(*places)]
        return [point for point in points if point != self.own]

    def to_json(self) -> dict[str, Any]:
        """Return the space as JSON."""
        return {key: dimension.model_dump(exclude_none=True) for key, dimension in self.dimensions.items()}

    def touches_data(self) -> bool:
        """Whether trials read or prepare the data differently."""
        return any(key.partition(".")[0] == "data" for key in self.dimensions)


def distribution(dimension: Dimension) -> BaseDistribution:
    """Return a dimension as optuna's distribution."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if dimension.choices is not None:
        return CategoricalDistribution([json.dumps(choice, sort_keys=True) for choice in dimension.choices])
    low, high, step = dimension.low, dimension.high, dimension.step
    assert low is not None
    assert high is not None
    if step:
        high = low + step * math.floor((high - low) / step + 1e-9)
    if dimension.integer:
        return IntDistribution(int(low), int(high), log=dimension.log, step=int(step or 1))
    return FloatDistribution(float(low), float(high), log=dimension.log, step=step)


def given_dimensions(texts: Sequence[str]) -> dict[str, Dimension]:
    """Return the dimensions of `--space KEY=VALUES` texts.

    Raises:
        RecipeError: a text is no dimension.
    """
    found: dict[str, Dimension] = {}
    problems: list[BedplateError] = []
    for text in texts:
        key, equals, values = text.partition("=")
        expected = "KEY=LOW..HIGH, KEY=LOW..HIGH:log, KEY=LOW..HIGH:step=STEP, or KEY=[choice, choice]"
        received: str | None = None
        try:
            value = parse_dimension(values)
            found[key.strip()] = Dimension.model_validate(_read(values) if value == values else value)
        except ValidationError as error:
            received = error.errors()[0]["msg"].replace("Value error, ", "needs ")
        except yaml.YAMLError as error:
            received = str(error).splitlines()[0]
        if received or not equals or not key.strip():
            problems.append(
                InputError(
                    "not a dimension of the space", where=f"--space {text}", expected=expected, received=received
                )
            )
    if problems:
        raise RecipeError(problems)
    return found


def _read(text: str) -> Any:
    """Return a YAML value, 1e-3 being a number in it."""

    def read(value: Any) -> Any:
        if isinstance(value, list):
            return [read(one) for one in value]
        if isinstance(value, dict):
            return {key: read(one) for key, one in value.items()}
        number = read_number(value) if isinstance(value, str) else None
        return value if number is None else number

    return read(yaml.safe_load(text))


def base_recipe(recipe: Recipe, resolved: Resolved) -> str:
    """Return the YAML that every trial starts from: as the recipe was written, with absolute paths and without search.

    Args:
        recipe: as read, so that a part holds the arguments that were given alone: another name for it then has its own
            defaults.
        resolved: the same, resolved.
    """
    raw = to_dict(recipe)
    raw["search"] = None
    for key in ("model", "objective"):
        raw[key] = raw[key] or {"name": getattr(resolved.recipe, key).name}
    if recipe.objective is None:
        raw["objective"] = None  # another model may have another default
    moved = to_dict(portable(resolved))
    # What a task puts in the place of a default must be said: written out, the default itself would be asked for.
    for key in ("data", "plugins", "compression"):
        raw[key] = moved[key]
    for key in ("start", "pretrain", "pseudo_labels"):
        raw["training"][key] = moved["training"][key]
    return str(yaml.safe_dump(raw, sort_keys=False, allow_unicode=True, width=110))


def overrides(values: Mapping[str, Any]) -> list[str]:
    """Return values as the texts that `--set` takes."""
    return [f"{key}={json.dumps(value)}" for key, value in values.items()]


def problems_of(base: str, key: str, dimension: Dimension) -> list[BedplateError]:
    """Return what is wrong with a key or its values: the same problems that `--set` with each value would have."""
    for head, why in _NOT_SEARCHED.items():
        if key == head or key.startswith(head + ".") or (head.startswith(key + ".") and key == "data"):
            return [InputError(f"'{key}' can't be searched", received=why)]
    ends = dimension.grid()
    for value in ends if dimension.choices is not None else (ends[0], ends[-1]):
        try:
            parse(base, overrides=overrides({key: value}), check=(check_parts,))
        except RecipeError as error:
            return error.problems
    return []


def check_space(base: str, dimensions: Mapping[str, Dimension], where: Mapping[str, str]) -> Iterable[BedplateError]:
    """Yield the problems of a space, each at the place that `where` names for its key."""
    for key, dimension in dimensions.items():
        for problem in problems_of(base, key, dimension):
            problem.where = where[key]
            yield problem


def short_names(keys: Iterable[str]) -> dict[str, str]:
    """Return each key's last word, with the ones before it where two keys would be called the same."""
    given = list(keys)
    last = [key.rpartition(".")[2] for key in given]
    return {key: word if last.count(word) == 1 else key for key, word in zip(given, last, strict=True)}


def value_at(recipe: Mapping[str, Any], key: str) -> Any:
    """Return the value at a dotted key, or None where there is none."""
    at: Any = recipe
    for step in key.split("."):
        if not isinstance(at, Mapping) or step not in at:
            return None
        at = at[step]
    return at


def around(recipe: Recipe, base: str, dimensions: Mapping[str, Dimension], *, suggested: bool = False) -> SearchSpace:
    """Return the space with the recipe's own values inside: ranges and choices that lack one are widened.

    So the recipe itself is a point of the space, and can be the first trial.
    """
    written, given = to_dict(recipe), yaml.safe_load(base)
    widened: dict[str, Dimension] = {}
    own: dict[str, Any] = {}
    notes: list[str] = []
    for key, dimension in dimensions.items():
        value = value_at(written, key)
        made = dimension
        if dimension.choices is not None:
            short = value_at(given, key)
            value = short if short in dimension.choices else value
            if value not in dimension.choices:
                made = dimension.model_copy(update={"choices": [value, *dimension.choices]})
            own[key] = value
        elif isinstance(value, int | float) and not isinstance(value, bool):
            made = _widened(dimension, value)
            if _holds(made, value):
                own[key] = value
            else:
                made = dimension
        if made is not dimension:
            notes.append(f"{key} is widened to hold the recipe's own {value}")
        elif key not in own:
            notes.append(f"the recipe's own {key}, {json.dumps(value)}, lies outside; the first trial keeps it")
        widened[key] = made
    return SearchSpace(widened, own, suggested, notes)


def _widened(dimension: Dimension, value: float) -> Dimension:
    assert dimension.low is not None
    assert dimension.high is not None
    if dimension.low <= value <= dimension.high or (dimension.log and value <= 0):
        return dimension
    update = {"low": min(dimension.low, value), "high": max(dimension.high, value)}
    return dimension.model_copy(update={**update, "type": "integer" if dimension.integer else "float"})


def _holds(dimension: Dimension, value: float) -> bool:
    """Whether a range has the value: on a logarithm, above 0; with steps, on one; of whole numbers, whole."""
    assert dimension.low is not None
    assert dimension.high is not None
    if not dimension.low <= value <= dimension.high or (dimension.integer and not float(value).is_integer()):
        return False
    return dimension.step is None or math.isclose((value - dimension.low) / dimension.step % 1, 0, abs_tol=1e-9)


def _round(value: float) -> float:
    return float(f"{value:.2g}")


def suggest(resolved: Resolved, base: str) -> dict[str, Dimension]:
    """Return a sensible space for a recipe that gives none: rate, decay, batch size, widths and dropout.

    Raises:
        InputError: nothing of the recipe is known to be worth a search.
    """
    recipe = resolved.recipe
    assert recipe.model is not None
    training, optimizer, model = recipe.training, recipe.training.optimizer.arguments, recipe.model.arguments
    found: dict[str, dict[str, Any]] = {}
    rate = optimizer.get("lr")
    if isinstance(rate, float | int) and rate > 0:
        found["training.optimizer.lr"] = {"low": _round(rate / 10), "high": _round(rate * 10), "log": True}
    decay = optimizer.get("weight_decay")
    if isinstance(decay, float | int) and decay > 0:
        found["training.optimizer.weight_decay"] = {
            "low": _round(decay / 30),
            "high": _round(min(decay * 30, 1.0)),
            "log": True,
        }
    batch = training.batch_size
    if isinstance(batch, int) and batch >= 4:
        found["training.batch_size"] = {"low": batch // 2, "high": batch * 2, "log": True, "type": "integer"}
    for name, value in model.items():
        if name == "dropout" and isinstance(value, float | int):
            found["model.dropout"] = {"low": 0.0, "high": max(0.5, value)}
        if isinstance(value, list) and value and all(isinstance(units, int) and units >= 2 for units in value):
            sizes = [[max(1, round(units * factor)) for units in value] for factor in (0.5, 1, 2)]
            found[f"model.{name}"] = {"choices": sizes}
    dimensions = {key: Dimension.model_validate(one) for key, one in found.items()}
    kept = {key: one for key, one in dimensions.items() if not problems_of(base, key, one)}
    if not kept:
        raise InputError(
            "nothing of this recipe is known to be worth a search",
            where=str(resolved.path),
            hint="say what to search under `search.space`, or with --space KEY=LOW..HIGH",
        )
    return kept
