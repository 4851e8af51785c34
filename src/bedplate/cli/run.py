"""The verbs that carry a recipe through its life: run, its stages alone, and the demo."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

from bedplate.bundle import pack_archive
from bedplate.cli.main import console_for
from bedplate.core.console import Console, human_seconds
from bedplate.core.errors import InputError, did_you_mean, listing
from bedplate.core.machine import process_started
from bedplate.pipeline import Outcome, Stage, run_stage
from bedplate.pipeline import run as run_recipe
from bedplate.stages.folder import Mode


def _mode(arguments: argparse.Namespace, otherwise: Mode) -> Mode:
    return "resume" if arguments.resume else "fresh" if arguments.fresh else otherwise


def _finish(outcome: Outcome, arguments: argparse.Namespace, console: Console) -> int:
    if getattr(arguments, "archive", None) and outcome.figures["bundle"]:
        pack_archive(Path(outcome.figures["bundle"]), Path(arguments.archive))
        console.detail(f"archive {arguments.archive}")
    if arguments.json:
        print(json.dumps(outcome.figures, ensure_ascii=False))
    elif arguments.quiet:
        print(outcome.figures["bundle"] or outcome.path)
    if not outcome.passed:
        print("error: the gate says no: " + "; ".join(outcome.figures["gate"]["failures"]), file=sys.stderr)
        return 1
    if (error := outcome.over_budget) is not None:
        print(f"error: {error.message}", file=sys.stderr)
        return error.exit_code
    console.say(f"done in {human_seconds(outcome.figures['seconds'])}")
    return 0


def overrides_of(arguments: argparse.Namespace) -> list[str]:
    """Return the recipe's overrides: `--set`, and what `--on` and `--workers` stand for."""
    found = list(arguments.overrides)
    on, count = getattr(arguments, "on", None), getattr(arguments, "workers", None)
    if count is not None:
        if not count.isdecimal() or int(count) < 1:
            raise InputError("not a number of workers", where=f"--workers {count}", expected="1 or more")
        found.append(f"training.workers.count={int(count)}")
    if on is None:
        return found
    engine, colon, _ = on.partition("://")
    if engine not in ("local", "torchrun", "ray") or (colon and engine != "ray"):
        known = ["local", "torchrun", "ray", "ray://HOST:PORT"]
        raise InputError(
            "no such engine", where=f"--on {on}", expected=f"one of {listing(known)}", hint=did_you_mean(engine, known)
        )
    if engine == "local" and count is not None and int(count) > 1:
        raise InputError(
            "`local` is this process alone",
            where=f"--on local --workers {count}",
            hint="`--on torchrun` starts several",
        )
    if engine == "local":
        found.append("training.workers.count=1")
    found.append(f"training.workers.engine={'ray' if engine == 'ray' else 'torchrun'}")
    if engine != "ray":
        found.append("training.workers.address=null")
    elif colon:
        found.append(f"training.workers.address={json.dumps(on)}")
    return found


def run(arguments: argparse.Namespace) -> int:
    """`bedplate run`."""
    console = console_for(arguments)
    outcome = run_recipe(
        arguments.recipe,
        arguments.out,
        overrides=overrides_of(arguments),
        mode=_mode(arguments, "new"),
        console=console,
        started=process_started(),
    )
    return _finish(outcome, arguments, console)


def stage(name: Stage, arguments: argparse.Namespace) -> int:
    """Run one stage of a recipe."""
    console = console_for(arguments)
    mode = _mode(arguments, "new" if name == "train" else "resume")
    outcome = run_stage(
        name,
        arguments.recipe,
        arguments.out,
        overrides=overrides_of(arguments),
        mode=mode,
        console=console,
        started=process_started(),
    )
    return _finish(outcome, arguments, console)


def train(arguments: argparse.Namespace) -> int:
    """`bedplate train`."""
    return stage("train", arguments)


def evaluate(arguments: argparse.Namespace) -> int:
    """`bedplate evaluate`."""
    return stage("evaluate", arguments)


def pack(arguments: argparse.Namespace) -> int:
    """`bedplate pack`."""
    return stage("pack", arguments)


def demo(arguments: argparse.Namespace) -> int:
    """`bedplate demo`: the digits recipe, then a real server answers one of its test images over HTTP."""
    console = console_for(arguments)
    outcome = run_recipe("digits", arguments.out, mode="fresh", console=console)
    figures = outcome.figures
    served: dict[str, Any] | None = None
    if figures["bundle"]:
        console.stage("serve", "starting a server and asking it")
        served = _ask_a_server(Path(figures["bundle"]), console)
    outcome = Outcome(outcome.path, {**figures, "served": served}, outcome.passed)
    if served:
        accuracy = figures["metrics"]["accuracy"]
        console.say()
        console.say(
            f"test accuracy  {accuracy['value']:.4f}  (95 % interval {accuracy['low']:.4f} to {accuracy['high']:.4f})"
        )
        console.say(f"bundle         {figures['bundle']}")
        console.say(f"bundle id      {figures['bundle_id']}")
        console.say(f"report         {figures['report']}")
        console.say(f"next           bedplate serve {outcome.path / 'bundle'}    then open http://127.0.0.1:8000")
    return _finish(outcome, arguments, console)


def _ask_a_server(bundle: Path, console: Console) -> dict[str, Any]:
    """Start `bedplate serve` in a process of its own, send it a golden image as PNG, and return its answer."""
    import io

    from PIL import Image

    from bedplate.bundle import Bundle

    opened = Bundle.open(bundle, replay=False)
    golden = opened.golden
    assert opened.answers.labels is not None
    assert golden.labels is not None
    image = golden.inputs["image"][0]
    buffer = io.BytesIO()
    Image.fromarray(image[:, :, 0]).save(buffer, "PNG")
    command = [sys.executable, "-m", "bedplate", "serve", str(bundle), "--port", "0", "--json"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        if not line:
            message = server.stderr.read() if server.stderr else ""
            raise InputError("the server did not start", received=message.strip()[-500:])
        url = json.loads(line)["url"]
        request = urllib.request.Request(
            f"{url}/predict/{opened.name}", buffer.getvalue(), {"Content-Type": "image/png"}
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            reply = json.load(response)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=30)
    answer = reply["answers"][0] if "answers" in reply else reply
    truth = opened.answers.labels[int(golden.labels[0])]
    console.detail(
        f"{url}/predict/{opened.name} was sent a '{truth}' and answered '{answer['answer']}' "
        f"with probability {max(answer['probabilities'].values()):.3f}"
    )
    return {"url": f"{url}/predict/{opened.name}", "sent": truth, "answer": answer["answer"]}
