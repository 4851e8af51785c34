"""The verbs that measure a recipe's training without keeping anything: profile and find-lr."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from bedplate.cli.main import console_for
from bedplate.core.errors import InputError
from bedplate.stages import profile_stage, rate_test
from bedplate.stages.rate_chart import rounded


def _number(text: str, flag: str, kind: type[int] | type[float]) -> float:
    try:
        return kind(text)
    except ValueError as error:
        raise InputError(
            "not a number", where=flag, expected="a whole number" if kind is int else "a number", received=repr(text)
        ) from error


def profile(arguments: argparse.Namespace) -> int:
    """`bedplate profile`."""
    console = console_for(arguments)
    found = profile_stage.profile_recipe(
        arguments.recipe,
        overrides=arguments.overrides,
        steps=int(_number(arguments.steps, "--steps", int)),
        trace=Path(arguments.trace) if arguments.trace else None,
        console=console,
    )
    if arguments.json:
        print(json.dumps(found.to_json(), ensure_ascii=False))
    elif arguments.quiet:
        print(found.verdict)
    profile_stage.tell(found, console)
    if arguments.trace:
        console.say(f"trace {arguments.trace}: open it in chrome://tracing or Perfetto")
    return 0


def find_lr(arguments: argparse.Namespace) -> int:
    """`bedplate find-lr`."""
    console = console_for(arguments)
    curve = rate_test.find_recipe_rate(
        arguments.recipe,
        overrides=arguments.overrides,
        low=_number(arguments.low, "--low", float),
        high=_number(arguments.high, "--high", float),
        steps=int(_number(arguments.steps, "--steps", int)),
        out=Path(arguments.out) if arguments.out else None,
        console=console,
    )
    if arguments.json:
        print(json.dumps(curve.to_json(), ensure_ascii=False))
    elif arguments.quiet:
        print(f"{rounded(curve.suggestion):g}")
    rate_test.tell(curve, console)
    if arguments.out:
        console.say(f"chart {arguments.out}")
    return 0
