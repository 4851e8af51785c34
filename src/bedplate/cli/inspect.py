"""The verbs that look and tell: init, plan, compare, recipes, schema, doctor and check-plugin."""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path
from typing import Any

from bedplate.cli.main import console_for
from bedplate.core.errors import InputError


def _print(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False))


def init(arguments: argparse.Namespace) -> int:
    """`bedplate init`."""
    from bedplate.stages.init import init as write_recipe

    console = console_for(arguments)
    written = write_recipe(
        arguments.data, arguments.target, arguments.output, task=arguments.task, time=arguments.time,
        force=arguments.force,
    )  # fmt: skip
    for reason in written.reasons:
        console.say(f"- {reason}")
    console.say(f"wrote {written.path}")
    shown = arguments.output or written.path.name
    console.say(f"next: bedplate plan {shown}, then bedplate run {shown}")
    if arguments.json:
        _print(written.to_json())
    elif arguments.quiet:
        print(written.path)
    return 0


def plan(arguments: argparse.Namespace) -> int:
    """`bedplate plan`."""
    from bedplate.stages.plan import plan as make_plan

    console = console_for(arguments)
    made = make_plan(arguments.recipe, overrides=arguments.overrides, console=console)
    console.stage("plan")
    for line in made.lines():
        console.detail(line)
    if arguments.json:
        _print(made.to_json())
    return 0


def compare(arguments: argparse.Namespace) -> int:
    """`bedplate compare`."""
    from bedplate.stages.compare import compare_runs

    console = console_for(arguments)
    sides: list[Path | list[Path]] = [Path(text) for text in arguments.runs]
    if "vs" in arguments.runs:
        words = itertools.groupby(arguments.runs, lambda text: text == "vs")
        groups = [list(group) for divider, group in words if not divider]
        sides = [[Path(text) for text in group] for group in groups]
    alone = len(sides) < 2 and not (Path(arguments.runs[0]) / "experiment.json").is_file()
    if alone:
        raise InputError("nothing to compare with", expected="two runs' folders or more", received=arguments.runs[0])
    found = compare_runs(sides)
    if arguments.json:
        _print(found.to_json())
    for line in found.lines():
        console.say(line)
    return 0


def recipes(arguments: argparse.Namespace) -> int:
    """`bedplate recipes`."""
    from bedplate.stages.resolve import comment_of, shipped_recipes

    found = {name: {"path": str(path), "about": comment_of(path)} for name, path in shipped_recipes().items()}
    if arguments.json:
        _print({"recipes": [{"name": name, **facts} for name, facts in found.items()]})
        return 0
    width = max(map(len, found))
    for name, facts in found.items():
        print(f"{name:<{width}}  {facts['about']}")
    return 0


def schema(arguments: argparse.Namespace) -> int:
    """`bedplate schema`: always JSON."""
    from bedplate.recipe.load import json_schema
    from bedplate.stages.parts_schema import parts_schema

    del arguments
    print(json.dumps(json_schema(parts_schema()), indent=2, ensure_ascii=False))
    return 0


def doctor(arguments: argparse.Namespace) -> int:
    """`bedplate doctor`: exit code 1 if a check fails."""
    from bedplate.cli.doctor import examine

    console = console_for(arguments)
    found = examine(console)
    if arguments.json:
        _print(found)
    return 0 if all(check["ok"] for check in found["checks"]) else 1


def check_plugin(arguments: argparse.Namespace) -> int:
    """`bedplate check-plugin`: exit code 1 if a check fails."""
    from bedplate.checks import check_file

    console = console_for(arguments)
    found = check_file(Path(arguments.file))
    for result in found.results:
        console.say(
            f"{'ok    ' if result.ok else 'FAILED'}  {result.part}: {result.check}"
            + (f" — {result.message}" if result.message else "")
        )
    console.say("all checks passed" if found.ok else f"{found.failed} of {len(found.results)} checks failed")
    if arguments.json:
        _print(found.to_json())
    return 0 if found.ok else 1
