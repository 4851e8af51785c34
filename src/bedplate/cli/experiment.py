"""The verb that runs many recipes and compares them: experiment."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from bedplate.cli.main import console_for
from bedplate.core.console import human_seconds
from bedplate.core.errors import listing

if TYPE_CHECKING:
    from bedplate.stages.folder import Mode


def experiment(arguments: argparse.Namespace) -> int:
    """`bedplate experiment`: exit code 1 if a run failed."""
    from bedplate.experiments.experiment import experiment as run_experiment

    console = console_for(arguments)
    mode: Mode = "resume" if arguments.resume else "fresh" if arguments.fresh else "new"
    outcome = run_experiment(arguments.file, arguments.out, overrides=arguments.overrides, mode=mode, console=console)
    if arguments.json:
        print(json.dumps(outcome.figures, ensure_ascii=False))
    elif arguments.quiet:
        print(outcome.figures["report"])
    if outcome.failures:
        reasons = dict.fromkeys(outcome.failures.values())
        told = "\n".join(
            f"{listing([n for n, w in outcome.failures.items() if w == why], 3)}: {why}" for why in reasons
        )
        print(f"error: {len(outcome.failures)} of the experiment's runs failed\n{told}", file=sys.stderr)
        return 1
    console.say(f"done in {human_seconds(outcome.figures['seconds'])}")
    return 0
