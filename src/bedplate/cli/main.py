"""Parse the command line, call the verb, and turn errors into messages and exit codes.

Exit codes: 0 good · 1 a gate or check said no · 2 bad input or usage · 3 infeasible budget · 130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import keyword
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from bedplate import __version__
from bedplate.cli.compress_flags import add_compress_flags
from bedplate.cli.export_flags import add_export_flags
from bedplate.cli.generate_flags import add_generate_flags
from bedplate.cli.import_flags import add_import_flags
from bedplate.cli.serve_flags import add_serve_flags
from bedplate.core.console import Console
from bedplate.core.errors import BedplateError, InputError, did_you_mean

VERBS: dict[str, tuple[str, str]] = {
    "demo": ("run", "run the whole life on embedded data, serve the result and ask it something"),
    "init": ("inspect", "look at data and write a commented recipe for it"),
    "plan": ("inspect", "check a recipe and its data, and predict time, memory and size; trains nothing"),
    "run": ("run", "carry a recipe through its whole life: data, train, evaluate, compress, pack"),
    "train": ("run", "the training stage alone"),
    "evaluate": ("run", "the evaluation stage alone"),
    "compress": ("compress", "make a run or bundle smaller and faster under a budget; or a recipe's compression stage"),
    "pack": ("run", "the packing stage alone"),
    "find-lr": ("tools", "find a learning rate: raise it step by step and watch the loss"),
    "profile": ("tools", "say where the time of a recipe's training steps goes"),
    "sweep": ("sweep", "search a recipe's settings, judged on validation figures alone"),
    "predict": ("bundles", "answer files or standard input from a bundle"),
    "import": ("import_model", "make a bundle of an ONNX file that was made elsewhere"),
    "export": ("export", "take a bundle's model away in another format, proved in that format's own runtime"),
    "serve": ("serve", "serve bundles over HTTP and gRPC"),
    "monitor": ("bundles", "say whether what a bundle sees has drifted from what it was made on"),
    "experiment": ("experiment", "run recipes × seeds (× folds) and say which differences are real"),
    "compare": ("inspect", "say whether one run is really better than another"),
    "recipes": ("inspect", "list the recipes that come with Bedplate"),
    "schema": ("inspect", "print the recipe's JSON Schema, for editors"),
    "doctor": ("inspect", "say what this machine has, and check that it works"),
    "check-plugin": ("inspect", "check a researcher's own file against what every registered part must do"),
}

_WORKSHOP = {"torch", "onnx", "onnxscript", "optuna", "sklearn", "pyarrow"}


class _Parser(argparse.ArgumentParser):
    """Argparse whose errors name the nearest spelling, and are InputErrors like all others."""

    def error(self, message: str) -> NoReturn:
        word = next((part for part in sys.argv[1:2] if part not in VERBS and not part.startswith("-")), None)
        if word and "invalid choice" in message:
            near = did_you_mean(word, VERBS)
            message = f"unknown command '{word}'" + (f"; {near}" if near else "")
        self.print_usage(sys.stderr)
        raise InputError(message)


def _common() -> _Parser:
    common = _Parser(add_help=False)
    common.add_argument(
        "--json", action="store_true", help="print JSON for machines on standard output, and nothing else there"
    )
    common.add_argument("--quiet", action="store_true", help="print nothing but results and errors")
    return common


def _set_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        nargs="+",
        default=[],
        dest="overrides",
        help="override a key of the recipe, such as training.epochs=3",
    )


def _recipe_flags(
    parser: argparse.ArgumentParser,
    folder: str = "the run's folder (default: runs/NAME)",
    work: str = "the run",
    *,
    takes: str = "a YAML file, or the name of a shipped recipe (`bedplate recipes`)",
    called: str | None = None,
) -> None:
    parser.add_argument("recipe", help=takes, metavar=called)
    parser.add_argument("--out", metavar="DIR", help=folder)
    _set_flag(parser)
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help=f"continue {work} in that folder")
    again.add_argument("--fresh", action="store_true", help=f"start {work} in that folder again")


def _worker_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workers", metavar="N", help="train with so many processes, each on its share of every batch (default: 1)"
    )
    parser.add_argument(
        "--on", metavar="ENGINE",
        help="who starts them: local (this process alone), torchrun (default), ray (a cluster on this machine) or "
        "ray://HOST:PORT",
    )  # fmt: skip


def _sweep_flags(parser: argparse.ArgumentParser) -> None:
    _recipe_flags(parser, folder="the sweep's folder (default: runs/NAME-sweep)", work="the sweep")
    parser.add_argument(
        "--space",
        metavar="KEY=VALUES",
        action="append",
        default=[],
        help="what a setting may be: training.optimizer.lr=1e-4..1e-1:log, model.dropout=0..0.5, "
        "'model.hidden=[[64], [128, 64]]'; replaces or adds to the recipe's own (default: a space suggested from it)",
    )
    parser.add_argument("--trials", metavar="N", help="how many, the recipe as it is among them (default: 20)")
    parser.add_argument(
        "--objective", metavar="FIGURE", action="append",
        help="validation_accuracy, validation_f1, validation_loss, validation_rmse, seconds or parameters; several: a "
        "Pareto front",
    )  # fmt: skip
    parser.add_argument("--sampler", help="tpe (default), random, grid or nsga2")
    parser.add_argument("--pruner", help="median (default), hyperband or none: which trials are stopped early")
    parser.add_argument(
        "--storage", metavar="WHERE",
        help="journal:PATH, sqlite:PATH or postgresql://USER@HOST/DATABASE, to share trials (default: in the folder)",
    )  # fmt: skip
    parser.add_argument("--run", action="store_true", help="then carry the best recipe through its whole life")


def _tool_flags(find_lr: argparse.ArgumentParser, profile: argparse.ArgumentParser) -> None:
    for parser in (find_lr, profile):
        parser.add_argument("recipe", help="a YAML file, or the name of a shipped recipe")
        _set_flag(parser)
    find_lr.add_argument("--out", metavar="FILE", help="also write the chart: a name ending in .svg or .html")
    find_lr.add_argument("--low", metavar="RATE", default="1e-5", help="the first step's learning rate")
    find_lr.add_argument("--high", metavar="RATE", default="10", help="the last step's learning rate")
    find_lr.add_argument("--steps", metavar="N", default="200", help="how many steps")
    profile.add_argument("--steps", metavar="N", default="20", help="how many steps are measured")
    profile.add_argument("--trace", metavar="FILE", help="also write a Chrome trace, to a .json or .json.gz file")


_SEVERAL = {"predict": "inputs", "serve": "bundles", "compare": "runs"}
"""Verbs that take any number of files, and how they are called."""


def build_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = _Parser(
        prog="bedplate",
        description="One recipe and one command carry a deep-learning model through its whole life.",
        epilog="Start with `bedplate demo`, or `bedplate init DATA` for your own data. Exit codes: 0 good, "
        "1 a gate or check said no, 2 bad input, 3 infeasible budget, 130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=f"bedplate {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="COMMAND", required=True, parser_class=_Parser)
    made = {
        name: verbs.add_parser(name, help=text, description=text, parents=[_common()])
        for name, (_, text) in VERBS.items()
    }
    made["demo"].add_argument("--out", metavar="DIR", default="runs/demo", help="the run's folder (default: runs/demo)")
    init = made["init"]
    init.add_argument(
        "data",
        help="a folder or archive of images or texts by class, a table (CSV, Parquet, JSONL), or "
        "a plain text with --task language-modelling",
    )
    init.add_argument("--task", metavar="TASK", help="what is asked, where the data leaves it open")
    init.add_argument("--target", metavar="COLUMN", help="the column to predict")
    init.add_argument("--time", metavar="COLUMN", help="the column of times, for --task forecasting")
    init.add_argument("-o", "--output", metavar="FILE", help="where to write the recipe (default: NAME.yaml)")
    init.add_argument("--force", action="store_true", help="replace the file if it is there")
    for name in ("run", "train", "evaluate", "pack"):
        _recipe_flags(made[name])
    _recipe_flags(
        made["compress"], "a new folder for the front, or the recipe's run (default: compressed, beside the bundle)",
        takes="what to compress: a run's folder or a bundle; or a recipe, to do its compression stage", called="SOURCE",
    )  # fmt: skip
    for name in ("run", "train"):
        _worker_flags(made[name])
    for name in ("run", "pack"):
        made[name].add_argument(
            "--archive", metavar="FILE", help="also write the bundle as one file, such as model.bundle"
        )
    experiment = made["experiment"]
    experiment.add_argument("file", help="a YAML file that names the arms, the seeds and the metric")
    experiment.add_argument("--out", metavar="DIR", help="the experiment's folder (default: runs/NAME)")
    _set_flag(experiment)
    again = experiment.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="continue the experiment in that folder")
    again.add_argument("--fresh", action="store_true", help="start the experiment in that folder again")
    _sweep_flags(made["sweep"])
    made["plan"].add_argument("recipe", help="a YAML file, or the name of a shipped recipe")
    _set_flag(made["plan"])
    _tool_flags(made["find-lr"], made["profile"])
    predict = made["predict"]
    predict.add_argument("bundle", help="a bundle's folder or archive")
    predict.add_argument(
        "inputs", nargs="*", metavar="INPUT", help="files, folders or archives; '-' or nothing for standard input"
    )
    predict.add_argument(
        "--variant", help="which of the bundle's variants answers (default: the one it was sealed with)"
    )
    add_generate_flags(predict)
    add_compress_flags(made["compress"])
    add_import_flags(made["import"])
    add_export_flags(made["export"])
    add_serve_flags(made["serve"])
    monitor = made["monitor"]
    monitor.add_argument("bundle", help="a bundle's folder or archive")
    monitor.add_argument("--state", metavar="DIR", help="a server's state folder")
    monitor.add_argument(
        "--input", metavar="FILE", nargs="+", dest="inputs", help="files to compare instead of a server's state"
    )
    made["compare"].add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="runs' folders, bundles, folders of runs, or an experiment's folder; the first is the reference; "
        "`A… vs B…` compares several runs a side",
    )
    made["check-plugin"].add_argument("file", help="a Python file that registers models or objectives")
    return parser


def console_for(arguments: argparse.Namespace) -> Console:
    """Return where people read along: standard error with --json, nowhere with --quiet."""
    return Console(sys.stderr if arguments.json else sys.stdout, quiet=arguments.quiet)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file's name may hold what the terminal's encoding lacks
            stream.reconfigure(errors="backslashreplace")
    words = list(sys.argv[1:] if argv is None else argv)
    as_json = _wants_json(words)
    try:
        return _call(_parsed(words))
    except BedplateError as error:
        return _failed(error, as_json=as_json)
    except KeyboardInterrupt:
        if as_json:
            _print_json({"error": "interrupted"})
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): not an error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = str(error.filename) if error.filename else None
        return _failed(InputError(error.strerror or str(error), where=where), as_json=as_json)
    except Exception as error:  # noqa: BLE001 - the last resort: told in full, with a code of its own
        plugins = sys.modules.get("bedplate.stages.plugins")
        fault = plugins.blame(error) if plugins else None
        if fault is not None:
            _failed(fault, as_json=as_json)
            return 1
        traceback.print_exc()
        if as_json:
            _print_json({"error": "a fault in Bedplate itself", "received": f"{type(error).__name__}: {error}"})
        print("error: this is a fault in Bedplate itself; please report it with the lines above", file=sys.stderr)
        return os.EX_SOFTWARE


def _parsed(words: Sequence[str]) -> argparse.Namespace:
    """Return what the command line says, and prepare what must be so before anything heavy is loaded."""
    parser = build_parser()
    arguments, left = parser.parse_known_args(words)
    several = _SEVERAL.get(arguments.verb)
    if several and not any(word.startswith("-") and word != "-" for word in left):
        # argparse gives files behind an option to nobody, though they belong to those before it.
        setattr(arguments, several, [*getattr(arguments, several), *left])
    elif left:
        parser.parse_args(words)  # says what it doesn't know
    if hasattr(arguments, "overrides"):
        arguments.overrides = [text for group in arguments.overrides for text in group]
    # Before torch and scikit-learn load their thread pools: threads that spin for long while they wait for each other
    # take the processor, on a machine that others use too, from the very thread that they wait for; threads that
    # sleep at once cost a third of the speed on a quiet one (docs/log.md).
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    return arguments


def _wants_json(words: Sequence[str]) -> bool:
    """Return whether `--json` is among the words, also where the others make no sense; it may be cut short."""
    flags = words[: words.index("--")] if "--" in words else words
    return any(len(word) > 2 and "--json".startswith(word) for word in flags)


def _failed(error: BedplateError, *, as_json: bool) -> int:
    """Say what went wrong, to machines and to people; return the exit code."""
    if as_json:
        _print_json(error.to_json())
    print(f"error: {error.message}", file=sys.stderr)
    return error.exit_code


def _print_json(value: dict[str, object]) -> None:
    print(json.dumps(value, ensure_ascii=False))


def _call(arguments: argparse.Namespace) -> int:
    """Import the verb's module and call it; a missing workshop is an error that names the line to type."""
    try:
        verbs = importlib.import_module(f"bedplate.cli.{VERBS[arguments.verb][0]}")
        name = arguments.verb.replace("-", "_")
        code: int = getattr(verbs, f"{name}_" if keyword.iskeyword(name) else name)(arguments)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _WORKSHOP:
            raise
        raise InputError(
            f"`bedplate {arguments.verb}` needs the workshop",
            received=f"{error.name} is not installed",
            hint='pip install "bedplate[train]"',
        ) from error
    return code
