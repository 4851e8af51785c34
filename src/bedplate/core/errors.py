"""Every error a user can meet, in one tree.

    BedplateError
    ├── InputError            exit 2: the user's input, file or flag is wrong
    │   ├── RecipeError           one or more problems in a recipe
    │   ├── DataError             the data can't be read or can't be learnt from
    │   ├── PayloadError          one payload (image, row) doesn't fit the contract; HTTP 400
    │   ├── BundleError           a bundle is damaged, tampered with or too new
    │   └── RunError              a run folder is in the way, or can't be resumed
    ├── ServerError           exit 1: a server refused, failed or can't be reached
    ├── GateError             exit 1: a gate or check measured something and said no
    ├── InfeasibleError       exit 3: no candidate meets the budget
    └── Interrupted           exit 130: the user stopped the work

Each says where, what was expected, what was received, and what to do next.
"""

from __future__ import annotations

import contextlib
import difflib
import json
from collections.abc import Iterable, Mapping


class BedplateError(Exception):
    """Base of all errors that Bedplate raises on purpose."""

    exit_code = 2

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        expected: str | None = None,
        received: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.what, self.where, self.expected, self.received, self.hint = what, where, expected, received, hint
        super().__init__(self.message)

    @property
    def message(self) -> str:
        """The whole message on one line: `where: what (expected …, received …). hint`."""
        text = f"{self.where}: {self.what}" if self.where else self.what
        facts = [f"expected {self.expected}"] if self.expected else []
        facts += [f"received {self.received}"] if self.received else []
        if facts:
            text += f" ({'; '.join(facts)})"
        return f"{text}. {self.hint}" if self.hint else text

    def to_json(self) -> dict[str, object]:
        """Return the error as JSON-ready fields."""
        fields = {"where": self.where, "expected": self.expected, "received": self.received, "hint": self.hint}
        return {"error": self.what, **{name: value for name, value in fields.items() if value}}


class InputError(BedplateError):
    """What the user gave is wrong."""


class RecipeError(InputError):
    """One or more problems in a recipe; `problems` holds them all."""

    def __init__(self, problems: list[BedplateError]) -> None:
        self.problems = problems
        first = problems[0]
        super().__init__(
            first.what, where=first.where, expected=first.expected, received=first.received, hint=first.hint
        )

    @property
    def message(self) -> str:
        """All problems, one a line."""
        return "\n".join(problem.message for problem in self.problems)

    def to_json(self) -> dict[str, object]:
        """Return all problems as JSON-ready fields."""
        return {"error": "the recipe has problems", "problems": [problem.to_json() for problem in self.problems]}


class DataError(InputError):
    """The data can't be read, or there is nothing in it to learn."""


class PayloadError(InputError):
    """One payload doesn't fit the contract. A server answers it with HTTP 400."""


class BundleError(InputError):
    """A bundle is damaged, incomplete, tampered with, or of a newer format."""


class RunError(InputError):
    """A run folder is in the way, or can't be continued."""


class ServerError(BedplateError):
    """A server refused a request, failed, or can't be reached; `status` is HTTP's (gRPC's are translated)."""

    exit_code = 1

    def __init__(self, what: str, *, status: int, **facts: str | None) -> None:
        self.status = status
        super().__init__(what, **facts)


class GateError(BedplateError):
    """A gate measured something and said no."""

    exit_code = 1


class InfeasibleError(BedplateError):
    """No candidate meets the budget."""

    exit_code = 3


class Interrupted(BedplateError):
    """The user stopped the work; what was finished is kept."""

    exit_code = 130


def did_you_mean(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return `did you mean 'x'?` for the nearest known spelling, or None.

    `cutoff` is how near it must be, from 0 to 1: more where names are alike that aren't meant so.
    """
    names = list(known)
    lowered = {name.lower().replace("_", "-"): name for name in names}
    near = difflib.get_close_matches(str(word).lower().replace("_", "-"), lowered, n=1, cutoff=cutoff)
    return f"did you mean '{lowered[near[0]]}'?" if near else None


def json_kind(value: object) -> str:
    """Return what JSON calls a value's type, for messages to its sender; of a value that JSON lacks, Python's name."""
    kinds = {bool: "true or false", int: "a number", float: "a number", str: "a string", list: "a list"}
    if value is None:
        return "null"
    return kinds.get(type(value), "an object" if isinstance(value, Mapping) else type(value).__name__)


def json_text(value: object, most: int = 60) -> str:
    """Return a value for a message, much as it was written: `true`, `null`, a string in quotes; cut after `most`."""
    if isinstance(value, str) and len(value) > most - 2:
        value = f"{value[: most - 3]}…"
    text = repr(value)
    if value is None or isinstance(value, bool | list | Mapping):
        with contextlib.suppress(TypeError, ValueError):  # what holds something that JSON doesn't have stays Python's
            text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def listing(names: Iterable[str], most: int = 12) -> str:
    """Return names joined for a message, cut after `most`."""
    names = [str(name) for name in names]
    return ", ".join(names[:most]) + (f" … ({len(names)} in all)" if len(names) > most else "")
