"""The verb that searches a recipe's settings: sweep."""

from __future__ import annotations

import argparse
import json
import sys

from bedplate.cli.main import console_for
from bedplate.core.console import human_seconds
from bedplate.experiments.sweep import sweep as search
from bedplate.stages.folder import Mode


def sweep(arguments: argparse.Namespace) -> int:
    """`bedplate sweep`."""
    console = console_for(arguments)
    mode: Mode = "resume" if arguments.resume else "fresh" if arguments.fresh else "new"
    overrides = list(arguments.overrides)
    for name in ("trials", "sampler", "pruner"):
        if getattr(arguments, name) is not None:
            overrides.append(f"search.{name}={getattr(arguments, name)}")
    if arguments.objective:
        overrides.append(f"search.objectives={json.dumps(arguments.objective)}")
    found = search(
        arguments.recipe,
        arguments.out,
        overrides=overrides,
        space=arguments.space,
        storage=arguments.storage,
        mode=mode,
        run=arguments.run,
        console=console,
    )
    if arguments.json:
        print(json.dumps(found.figures, ensure_ascii=False))
    elif arguments.quiet:
        print(found.figures["best_recipe"])
    if found.outcome is not None and not found.outcome.passed:
        print("error: the gate says no: " + "; ".join(found.outcome.figures["gate"]["failures"]), file=sys.stderr)
        return 1
    console.say(f"done in {human_seconds(found.figures['seconds'])}")
    return 0
