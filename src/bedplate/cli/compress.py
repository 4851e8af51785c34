"""`bedplate compress`: the compression stage of a recipe, or a search under a budget for a run or bundle."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path

from bedplate.bundle import layout
from bedplate.cli.main import console_for
from bedplate.cli.run import stage
from bedplate.compression.front import Budget
from bedplate.core.errors import InputError
from bedplate.stages.compress_bundle import FLAGS, compress_bundle, infeasible, show
from bedplate.stages.folder import MARKER


def compress(arguments: argparse.Namespace) -> int:
    """`bedplate compress`."""
    given = {key: getattr(arguments, key) for key in FLAGS if getattr(arguments, key) is not None}
    source = Path(arguments.recipe)
    trained = source.suffix == ".bundle" or any((source / name).is_file() for name in (MARKER, layout.MANIFEST))
    if not trained:
        if given or any((arguments.effort, arguments.metric, arguments.target, arguments.steps)):
            raise InputError(
                "no run and no bundle lies here, and a budget is for something trained", where=arguments.recipe,
                hint="give a run's folder or a bundle; in a recipe, compression.max_drop says what may be lost",
            )  # fmt: skip
        if source.is_dir():
            raise InputError(
                "no run and no bundle lies here", where=arguments.recipe, expected=f"{MARKER} or {layout.MANIFEST}",
                hint="give the folder that `bedplate run` made, or the bundle in it",
            )  # fmt: skip
        return stage("compress", arguments)
    if arguments.overrides or arguments.resume or arguments.fresh:
        raise InputError("--set, --resume and --fresh are for recipes", where=str(source))
    budget = Budget(**{key: _limit(text, FLAGS[key]) for key, text in given.items()})
    console = console_for(arguments)
    found = compress_bundle(
        source, budget, out=arguments.out, effort=arguments.effort or "normal", metric=arguments.metric,
        target=arguments.target or "this", steps=arguments.steps, console=console,
    )  # fmt: skip
    show(found, console)
    if arguments.json:
        print(json.dumps(found.to_json(), ensure_ascii=False))
    elif arguments.quiet:
        print(found.bundles[found.choice.chosen.name])
    error = infeasible(found.to_json())
    if error is not None:  # said here, not raised: with --json the figures are all that is printed
        print(f"error: {error.message}", file=sys.stderr)
        console.say(f"report: {found.out / 'report.html'}")
        return error.exit_code
    console.say(f"chosen: {found.choice.chosen.name}, {found.bundles[found.choice.chosen.name]}")
    console.say(f"report: {found.out / 'report.html'}")
    return 0


def _limit(text: str, flag: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise InputError("not a limit", where=f"{flag} {text}", expected="a number from 0 upwards")
    return value
