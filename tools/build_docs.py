"""Write the parts of docs/ that the code decides, and check that every relative link leads somewhere.

    python tools/build_docs.py           rewrite the generated sections, then check the links
    python tools/build_docs.py --check   change nothing; fail if a section is out of date or a link is broken

A generated section stands between `<!-- generated: NAME -->` and `<!-- end of NAME -->`.
"""

from __future__ import annotations

import argparse
import difflib
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from bedplate.cli.main import VERBS, build_parser
from bedplate.compression import methods
from bedplate.core.registry import Registry
from bedplate.models import models
from bedplate.objectives import objectives
from bedplate.recipe.schema import Recipe
from bedplate.stages.parts_schema import parts_schema
from bedplate.tasks import TASKS
from bedplate.training import augments, optimizers, schedules

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
Json = Mapping[str, Any]

LIFE = (
    "core", "reference", "recipe", "codecs", "profile", "bundle", "evaluation", "data", "models", "objectives", "tasks",
    "training", "export", "compression", "packaging", "stages", "experiments", "serving", "operations", "checks", "cli",
)  # fmt: skip
"""The rooms in the order in which they are listed; a new one comes last until it is named here."""

REGISTRIES: Mapping[str, Registry[Any]] = {
    "model": models,
    "objective": objectives,
    "optimizer": optimizers,
    "schedule": schedules,
    "augment": augments,
}

MEANINGS = {
    "name": "what the run and its bundle are called",
    "seed": "decides every draw: split, weights, order, augmentation, bootstrap",
    "task": "what is asked",
    "data": "where the rows come from",
    "model": "what computes; left out: the task's default",
    "objective": "what is minimised; left out: the task's default",
    "training": "how the weights are moved",
    "embedding": "what the vectors of text-embedding look like",
    "evaluation": "how the model is judged",
    "compression": "which smaller variants are tried, and what they may cost",
    "gate": "what the test metrics must reach; a run that fails is not packed",
    "serving": "what the bundle says to its server",
    "plugins": "Python files, relative to the recipe, that register parts of your own",
    "data.columns": "by column name, where inference should not decide",
    "data.columns.*.type": "overrides the inferred type",
    "data.files.train": "the training rows",
    "data.files.validation": "left out: carved from the training rows",
    "data.files.test": "left out: carved from the training rows",
    "data.delimiter": "of a CSV; left out: found out",
    "data.encoding": "of a text file; left out: found out",
    "data.image": "the size at which images enter the model; left out: chosen from the data",
    "data.image.height": "pixels",
    "data.image.width": "pixels",
    "data.image.channels": "1 grey, 3 colour",
    "data.image.resize": "how images of other sizes are fitted",
    "data.text": "how texts become tokens; left out: chosen from the training rows; sentences come as words",
    "data.text.tokens": "what is cut out: whole words, characters, byte pairs (every text is known), or parts of words",
    "data.series": "how a time series becomes windows of a past and the future to forecast",
    "data.series.calendar": "cycles (day, week, year) in which the latest step's place is read beside the history",
    "data.series.duplicates": "what to do with rows of one time: refuse them, or take the first or their mean",
    "data.split": "how rows without an official split are divided",
    "data.split.by": "at random, whole groups at a time, or the earliest rows for training",
    "data.split.validation": "share of the rows",
    "data.split.test": "share of the rows",
    "data.split.stratify": "keep the shares of the classes (or of the target's deciles) equal",
    "training.epochs": "passes over the training rows, at most",
    "training.batch_size": "rows a step",
    "training.optimizer": "what turns gradients into steps",
    "training.schedule": "how the learning rate changes over the run",
    "training.gradient_clip": "largest norm of the gradient",
    "training.early_stopping": "left out: all epochs are trained; the best one is kept either way",
    "training.early_stopping.patience": "epochs without an improvement",
    "training.early_stopping.min_delta": "what counts as an improvement",
    "training.augment": "how images are changed while training",
    "training.checkpoint_seconds": "seconds between checkpoints; one more at each epoch's end",
    "training.start": "left out: fresh weights",
    "training.pseudo_labels": "rows without labels are labelled where the model is sure, and trained on",
    "training.workers": "processes that train together; left out: this one alone",
    "training.workers.count": "how many; each takes its share of every batch",
    "training.device": "where steps are computed; auto: a GPU where there is one",
    "training.memory_format": "how images lie in memory; channels_last is NHWC; auto: measured on this machine",
    "training.compile": "torch.compile; auto: tried where training is long enough to pay for it",
    "evaluation.resamples": "of the bootstrap",
    "evaluation.confidence": "of every interval",
    "evaluation.baselines": "also fit the baselines and show them beside the model",
    "compression.methods": "tried in this order; an empty list tries none",
    "compression.calibration_rows": "training rows on which ranges are measured",
    "compression.budget.effort": "how many students are trained, and how long",
    "compression.unlabelled": "rows without labels, from which students learn what the original answers",
    "compression.distillation": "how students learn: soft-target, hard-target or feature-transfer, with its arguments",
    "gate.minimum": "metric name → least value",
    "gate.maximum": "metric name → greatest value",
    "search.sampler": "how the next trial's settings are chosen",
    "serving.name": "left out: the recipe's name",
    "serving.golden_rows": "how many rows are replayed at each opening",
}
"""What a key means, where the schema's own description doesn't say it. Stale entries fail the check."""

ARGUMENTS = {
    "lr": "learning rate, before the schedule's factor",
    "momentum": "share of the last step that is kept",
    "nesterov": "look ahead by the momentum before taking the gradient",
    "weight_decay": "L2 regularisation; decoupled in adamw",
    "beta1": "decay of the gradient's running mean",
    "beta2": "decay of the squared gradient's running mean",
    "warmup": "share of the steps in which the rate rises",
    "floor": "the factor at the end",
    "start": "the factor at the first step",
    "end": "the factor at the last step",
    "every": "epochs between two drops",
    "factor": "what the rate is multiplied by",
    "delta": "where squared turns into linear, in standard deviations of the target",
}
"""What an argument means, where its function's docstring has no line for it."""


def _value(value: Any) -> str:
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def _bounds(schema: Json) -> str:
    words = []
    for key, word in (
        ("minimum", "at least"), ("exclusiveMinimum", "above"), ("maximum", "at most"), ("exclusiveMaximum", "below")
    ):  # fmt: skip
        if key in schema:
            words.append(f"{word} {schema[key]:,}" if abs(schema[key]) < 1e9 else "")
    return ", ".join(word for word in words if word)


def kind_of(schema: Json) -> str:
    """Return a JSON schema's type in words."""
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        return "a part: `name` and its arguments" if name == "Part" else "a section"
    if "anyOf" in schema:
        kinds = [kind_of(one) for one in schema["anyOf"] if one.get("type") != "null"]
        return " or ".join(kinds)
    if "enum" in schema:
        return " · ".join(f"`{word}`" for word in schema["enum"])
    kind = schema.get("type", "anything")
    if kind == "array":
        item = kind_of(schema["items"])
        if "enum" in schema["items"]:
            return f"a list of {item}"
        return "a list of " + re.sub(r"^(whole number|number|text)", r"\1s", item)
    if kind == "object":
        inner = schema.get("additionalProperties")
        return f"a mapping to {kind_of(inner)}" if isinstance(inner, dict) else "a mapping"
    word = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false"}.get(kind, kind)
    bounds = _bounds(schema)
    return f"{word}, {bounds}" if bounds else word


def _default(owner: type[Any], key: str) -> str:
    field = owner.model_fields[key]
    if field.is_required():
        return "**needed**"
    value = field.get_default(call_default_factory=True)
    if hasattr(value, "model_dump"):
        if type(value).__name__ != "Part":
            return "as below"
        value = value.model_dump(mode="json")
    return "–" if value is None else _value(value)


def _inner(annotation: Any) -> type[Any] | None:
    """Return the section class inside an annotation such as `Section | None` or `dict[str, Section]`."""
    if inspect.isclass(annotation) and hasattr(annotation, "model_fields"):
        return None if annotation.__name__ == "Part" else annotation
    found = [_inner(one) for one in getattr(annotation, "__args__", ())]
    return next((one for one in found if one is not None), None)


def _keys(owner: type[Any], prefix: str, used: set[str]) -> Iterable[tuple[str, str]]:
    """Yield (key path, its row of the table), depth first."""
    schema = owner.model_json_schema()
    for key, field in owner.model_fields.items():
        path = f"{prefix}{key}"
        about = field.description or MEANINGS.get(path)
        if about is None:
            raise SystemExit(f"tools/build_docs.py: MEANINGS lacks the recipe's key {path}")
        used.add(path)
        yield path, f"| `{path}` | {kind_of(schema['properties'][key])} | {_default(owner, key)} | {about} |"
        section = _inner(field.annotation)
        if section is not None:
            yield from _keys(section, f"{path}.*." if "dict" in str(field.annotation) else f"{path}.", used)


def recipe_keys() -> str:
    """Return the tables of every key, one a top-level key."""
    used: set[str] = set()
    head = ["| key | kind | default | meaning |", "|---|---|---|---|"]
    parts: dict[str, list[str]] = {"The top level": []}
    for path, row in _keys(Recipe, "", used):
        top = path.partition(".")[0]
        parts.setdefault("The top level" if top == path else f"`{top}`", []).append(row)
    if stale := set(MEANINGS) - used:
        raise SystemExit(f"tools/build_docs.py: MEANINGS speaks of keys that are no more: {sorted(stale)}")
    blocks = ["\n".join([f"### {title}", "", *head, *rows]) for title, rows in parts.items()]
    tasks = "\n".join(
        f"- `{task.name}`: {task.payload} in, {task.answer} out; model `{task.model}`, objective `{task.objective}` "
        f"where none is named; the best epoch is chosen by validation {task.select}; "
        f"the report leads with {task.primary}"
        for task in TASKS.values()
    )
    return "\n\n".join([*blocks, f"### Tasks\n\n{tasks}"])


def _argument_lines(doc: str) -> dict[str, str]:
    """Return the meanings that a docstring's `Args:` section gives."""
    section = re.search(r"^Args:\n((?:[ ]+.*\n?|\n)+)", doc, re.MULTILINE)
    found = re.findall(r"^ {4}(\w+): ((?:.|\n {8})*)", section.group(1), re.MULTILINE) if section else []
    return {name: re.sub(r"\s+", " ", text).strip().rstrip(".") for name, text in found}


def part_table(kind: str) -> Callable[[], str]:
    """Return the writer of the section about one kind of registered part."""

    def write() -> str:
        blocks = []
        for option in parts_schema()[kind]["oneOf"]:
            name = option["properties"]["name"]["const"]
            doc = inspect.getdoc(REGISTRIES[kind].get(name)) or ""
            meanings = _argument_lines(doc)
            lines = [f"**`{name}`** — {option['description'].removeprefix('Return ').rstrip('.')}."]
            rows = []
            for key, schema in option["properties"].items():
                if key != "name":
                    default = _value(schema["default"]) if "default" in schema else "**needed**"
                    about = meanings.get(key) or ARGUMENTS.get(key, "")
                    rows.append(f"| `{key}` | {kind_of(schema)} | {default} | {about} |")
            if rows:
                lines += ["", "| argument | kind | default | meaning |", "|---|---|---|---|", *rows]
            blocks.append("\n".join(lines))
        return "\n\n".join(blocks)

    return write


def compression_methods() -> str:
    """Return the list of compression methods."""
    lines = []
    for name, method in methods.parts():
        about = (inspect.getdoc(method) or "").partition("\n")[0]
        lines.append(f"- `{name}`: {about.removeprefix('Return ')}")
    return "\n".join(lines)


def command_line() -> str:
    """Return each verb's use and options, from the parser that runs."""
    parser = build_parser()
    verbs: Any = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    blocks = []
    for name, (_, about) in VERBS.items():
        use, rows = [f"bedplate {name}"], []
        for action in verbs.choices[name]._actions:
            if isinstance(action, argparse._HelpAction):
                continue
            word = str(action.metavar or action.dest.upper())
            if not action.option_strings:
                shown = word.upper()
                use.append({"*": f"[{shown} …]", "+": f"{shown} …"}.get(str(action.nargs), shown))
            else:
                shown = ", ".join(action.option_strings) + ("" if action.nargs == 0 else f" {word}")
                if action.nargs == "+":
                    shown += " …"
                use.append(f"[{shown.rpartition(', ')[2]}]")
            default = action.default
            said = "default" in (action.help or "") or action.nargs == 0 or default in (None, [], False)
            rows.append(f"| `{shown}` | {action.help or ''}{'' if said else f' (default: {default})'} |")
        text = [f"### {name}", "", f"{about[0].upper()}{about[1:]}.", "", "```text", " ".join(use), "```", ""]
        blocks.append("\n".join([*text, "| argument | meaning |", "|---|---|", *rows]))
    return "\n\n".join(blocks)


def _first_sentence(path: Path) -> tuple[str, str]:
    """Return a page's title, and the first sentence below it."""
    lines = path.read_text(encoding="utf-8").splitlines()
    title = lines[0].lstrip("# ").strip()
    body = "\n".join(lines[1:]).strip().partition("\n\n")[0].replace("\n", " ")
    return title, re.split(r"(?<=[.?!])\s", body, maxsplit=1)[0]


def _rooms() -> list[str]:
    folders = {path.parent.name for path in (ROOT / "src" / "bedplate").glob("*/*.py")}
    pages = {name for name in folders if (DOCS / f"{name}.md").is_file()}
    return sorted(pages, key=lambda name: (LIFE.index(name) if name in LIFE else len(LIFE), name))


def room_list() -> str:
    """Return a line a room."""
    return "\n".join(f"- [{name}]({name}.md): {_first_sentence(DOCS / f'{name}.md')[1]}" for name in _rooms())


def page_list() -> str:
    """Return a line for each page that is no room's."""
    pages = [path for path in sorted(DOCS.glob("*.md")) if path.stem not in {"index", *_rooms()}]
    found = [(path.name, *_first_sentence(path)) for path in pages]
    return "\n".join(f"- [{title}]({name}): {sentence}" for name, title, sentence in found)


def decision_list() -> str:
    """Return a line a decision."""
    found = [(path.name, _first_sentence(path)[0]) for path in sorted((DOCS / "decisions").glob("*.md"))]
    return "\n".join(f"- [{title}](decisions/{name})" for name, title in found)


SECTIONS: Mapping[str, Mapping[str, Callable[[], str]]] = {
    "recipe.md": {
        "keys": recipe_keys,
        **{f"{kind}s": part_table(kind) for kind in REGISTRIES},
        "compression methods": compression_methods,
    },
    "command-line.md": {"verbs": command_line},
    "index.md": {"rooms": room_list, "pages": page_list, "decisions": decision_list},
}


def rebuilt(text: str, sections: Mapping[str, Callable[[], str]], where: str) -> str:
    """Return a page with its generated sections written anew."""
    for name, write in sections.items():
        start, end = f"<!-- generated: {name} -->", f"<!-- end of {name} -->"
        if text.count(start) != 1 or text.count(end) != 1:
            raise SystemExit(f"{where}: needs {start} and {end}, once each")
        before, _, rest = text.partition(start)
        text = f"{before}{start}\n\n{write()}\n\n{end}{rest.partition(end)[2]}"
    return text


def markdown_files() -> list[Path]:
    """Return the repository's Markdown files, without what git ignores."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    names = done.stdout.splitlines() if done.returncode == 0 else [str(p.relative_to(ROOT)) for p in ROOT.rglob("*.md")]
    return sorted(ROOT / name for name in names if (ROOT / name).is_file())


def without_code(text: str) -> str:
    """Return a page's text without its code."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))


def _anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+\s+(.*)$", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.replace("`", "").lower()).strip().replace(" ", "-") for title in titles}


def broken_links(files: Iterable[Path]) -> list[str]:
    """Return a line for every relative link that leads nowhere."""
    found = []
    for path in files:
        for target in re.findall(r"\]\(([^)\s]+)\)", without_code(path.read_text(encoding="utf-8"))):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            there = (path.parent / name).resolve() if name else path
            missing = not there.exists()
            if not missing and anchor and there.suffix == ".md":
                missing = anchor not in _anchors(there.read_text(encoding="utf-8"))
            if missing:
                found.append(f"{path.relative_to(ROOT)}: the link to {target} leads nowhere")
    return found


def main(arguments: list[str] | None = None) -> int:
    """Rewrite or check the pages; return 1 where something is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing, fail if something would change")
    check = parser.parse_args(arguments).check
    wrong = []
    for name, sections in SECTIONS.items():
        page = DOCS / name
        old = page.read_text(encoding="utf-8")
        new = rebuilt(old, sections, name)
        if new == old:
            continue
        if check:
            lines = difflib.unified_diff(old.splitlines(), new.splitlines(), "as it is", "as it should be", lineterm="")
            wrong.append(f"docs/{name} is out of date: run `make docs`\n" + "\n".join(list(lines)[:20]))
        else:
            page.write_text(new, encoding="utf-8")
            print(f"wrote docs/{name}")
    wrong += broken_links(markdown_files())
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
