"""Send every bad input of `tools/bad_input_cases` and write what comes back to `docs/bad-inputs.md`.

    python tools/bad_inputs.py

One process has the modules loaded and gives birth to a process for each case, so that each case runs in a process of
its own and all of them take a minute.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from tools.bad_input_cases import CASES, REQUESTS, Case, Place, Request  # noqa: E402

PAGE = ROOT / "docs" / "bad-inputs.md"
DIGITS_OVERRIDES = (
    "training.epochs=2", "gate={}", "evaluation.resamples=100", "evaluation.baselines=false", "compression.methods=[]",
)  # fmt: skip
TABLE_OVERRIDES = (
    "training.epochs=5", "training.batch_size=16", "evaluation.baselines=false", "evaluation.resamples=100", "compression.methods=[]",
)  # fmt: skip
_LOADED = (
    "bedplate.cli.run", "bedplate.cli.inspect", "bedplate.cli.bundles", "bedplate.cli.tools",
    "bedplate.cli.sweep", "bedplate.cli.experiment", "bedplate.stages.plan", "bedplate.stages.init",
    "bedplate.stages.compare", "bedplate.checks", "bedplate.operations", "bedplate.serving", "sklearn.datasets", "torch._dynamo",
)  # fmt: skip
_SECONDS = 300
"""What a command may take on a machine that has other work: enough for a short run, and an end for one that hangs."""


@dataclass(frozen=True)
class Answer:
    """What came back: an exit code or an HTTP status, and the texts."""

    code: int
    out: str
    err: str = ""


class Nursery:
    """A process with everything imported, which forks once for each command."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve()), "--nursery"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )  # fmt: skip

    def run(self, argv: list[str], folder: Path, *, stdin: bytes = b"", most_bytes: int | None = None) -> Answer:
        """Run `bedplate` with these words in `folder`, in a process of its own."""
        with tempfile.TemporaryDirectory() as aside:
            (Path(aside) / "in").write_bytes(stdin)
            order = {"argv": argv, "folder": str(folder), "aside": aside, "most_bytes": most_bytes}
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            code = int(self._process.stdout.readline())
            out, err = ((Path(aside) / name).read_text(encoding="utf-8", errors="replace") for name in ("out", "err"))
        return Answer(code, out, err)

    def close(self) -> None:
        """Let the process end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)
        if self._process.stdout is not None:
            self._process.stdout.close()


def _nursery() -> int:
    """Read orders from standard input until it ends; fork for each, and tell the exit code."""
    import importlib

    for name in _LOADED:
        importlib.import_module(name)
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = _child(order)
                atexit._run_exitfuncs()
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(code)  # the libraries' threads stayed with the parent, so their destructors can't be run
        signal.signal(signal.SIGALRM, lambda *_, child=child: os.kill(child, signal.SIGKILL))
        signal.alarm(_SECONDS)
        _, status = os.waitpid(child, 0)
        signal.alarm(0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    return 0


def _child(order: dict[str, Any]) -> int:
    from bedplate.cli import main

    os.chdir(order["folder"])
    aside = Path(order["aside"])
    flags = os.O_CREAT | os.O_WRONLY | os.O_TRUNC
    os.dup2(os.open(aside / "in", os.O_RDONLY), 0)
    os.dup2(os.open(aside / "out", flags), 1)
    os.dup2(os.open(aside / "err", flags), 2)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    if order["most_bytes"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["most_bytes"], resource.RLIM_INFINITY))
    sys.argv = ["bedplate", *order["argv"]]
    try:
        return main(order["argv"])
    except SystemExit as leave:
        return int(leave.code or 0)
    except BaseException:  # noqa: BLE001 - whatever it is, it is shown, and a test finds the word Traceback
        traceback.print_exc()
        return 1


def listing_of(folder: Path) -> dict[str, int | str]:
    """Return every path below a folder, with its size (or where it links to)."""
    return {str(path.relative_to(folder)): _kind(path) for path in sorted(folder.rglob("*"))}


def _kind(path: Path) -> int | str:
    if path.is_symlink():
        return str(path.readlink())
    return path.stat().st_size if path.is_file() else "/"


def send(case: Case, place: Place, nursery: Nursery) -> tuple[Answer, set[str]]:
    """Send a case; return the answer, and the paths that it added, removed or changed."""
    if case.build is not None:
        case.build(place)
    before = listing_of(place.folder)
    answer = nursery.run(case.argv(place), place.folder, stdin=case.stdin, most_bytes=case.most_bytes)
    after = listing_of(place.folder)
    return answer, {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


@contextlib.contextmanager
def server(digits: Path, table: Path) -> Iterator[str]:
    """Give the URL of a real server that holds both bundles."""
    words = ["serve", "--name", f"digits={digits}", "--name", f"orders={table}", "--port", "0", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "bedplate", *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.terminate()
        process.communicate(timeout=30)


def ask(request: Request, url: str) -> Answer:
    """Send a request; return the status and the body."""
    sent = urllib.request.Request(  # noqa: S310
        url + request.path, request.body if request.method != "GET" else None,
        {"Content-Type": request.content_type}, method=request.method,
    )  # fmt: skip
    try:
        with urllib.request.urlopen(sent, timeout=30) as reply:  # noqa: S310
            return Answer(reply.status, reply.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.read().decode())


def _made(answer: Answer) -> None:
    if answer.code != 0:
        raise SystemExit(answer.err or f"it ended with {answer.code}; {-signal.SIGKILL} is a kill after {_SECONDS} s")


def make_things(folder: Path, nursery: Nursery) -> Place:
    """Make a short run on digits, and one on a tiny table with a category; return the place of them."""
    from tools.bad_input_cases.tables import TABLE, good_table

    _made(nursery.run(["run", "digits", "--out", "digits", "--quiet", "--set", *DIGITS_OVERRIDES], folder))
    (folder / "orders.csv").write_text(good_table(200))
    (folder / "orders.yaml").write_text(TABLE.replace("name: a", "name: orders").replace("a.csv", "orders.csv") % "")
    _made(nursery.run(["run", "orders.yaml", "--out", "orders", "--quiet", "--set", *TABLE_OVERRIDES], folder))
    digits = folder / "digits"
    return Place(folder, digits / "bundle", folder / "orders" / "bundle", digits, DIGITS_OVERRIDES)


def shown(text: str, place: Place) -> str:
    """Return a text without this machine's paths."""
    for path in (place.folder, place.digits.parent, place.table.parent, place.run.parent):
        text = text.replace(str(path.resolve()), "…").replace(str(path), "…")
    return text


def message(case: Case, answer: Answer) -> str:
    """Return the lines of an answer that matter: the errors, or what was said of an input that is good."""
    lines = [line.strip() for line in (answer.err if case.code else answer.err + "\n" + answer.out).splitlines()]
    if case.code:
        start = next((k for k, line in enumerate(lines) if line.startswith("error:")), 0)
        wanted = [line for line in lines[start:] if line and not line.startswith(("usage:", "▸"))][:6]
    else:
        wanted = [line for line in lines if any(word in line for word in case.says)][:2]
    return "\n".join(line[:600] + ("…" if len(line) > 600 else "") for line in wanted)


def cell(text: str) -> str:
    """Return a text as a cell of a Markdown table."""
    safe = text.replace("|", "\\|").replace("\x07", "").strip()
    return "<br>".join(f"`` {line.replace('``', '` `')} ``" for line in safe.splitlines() if line)


def page(rows: list[tuple[Case, str]], replies: list[tuple[Request, str]]) -> str:
    """Return the page."""
    parts = [HEAD]
    for group in dict.fromkeys(case.group for case, _ in rows):
        parts.append(f"\n## {group}\n\n| Sent | Command | Exit | Message |\n| --- | --- | --- | --- |")
        parts += [
            f"| {case.sent} | `{case.command}` | {case.code} | {cell(text)} |" for case, text in rows if case.group == group
        ]  # fmt: skip
    parts.append("\n## Requests to a server\n\n| Sent | Path | Status | Reply |\n| --- | --- | --- | --- |")
    parts += [f"| {r.sent} | `{r.method} {r.path}` | {r.status} | {cell(text)} |" for r, text in replies]
    return "\n".join(parts) + "\n"


HEAD = """# What bad input gets

Every line below was sent to the real command, or to a real server, and the answer is what came back; paths of the
machine are shortened to `…`. Exit code 2 means that the input is at fault, and then nothing was written: no recipe,
no bundle, no half of a stage. Exit code 0 marks input that is unusual but good. The page is written by
`python tools/bad_inputs.py`; `tests/house/test_bad_inputs.py` sends the same list.

What needs more than one command stands in the same tests: Ctrl-C ends any stage with exit code 130 and
`continue with --resume`, a port in use is refused with exit code 2, and a disk that is really full (a small tmpfs)
gets the message of the limits below."""


def main() -> int:
    """Send everything and write the page."""
    nursery = Nursery()
    rows, replies, wrong = [], [], 0
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary)
        made = make_things(base, nursery)
        for number, case in enumerate(CASES):
            place = replace(made, folder=base / str(number))
            place.folder.mkdir()
            begun = time.monotonic()
            answer, touched = send(case, place, nursery)
            if "--times" in sys.argv:
                print(f"{time.monotonic() - begun:6.2f} s  {case.group}: {case.sent}", flush=True)
            text = shown(answer.err + answer.out, place)
            if (
                "Traceback" in text
                or answer.code != case.code
                or not all(word in text for word in case.says)
                or (case.code and touched)
            ):
                wrong += 1
                print(
                    f"WRONG {case.group}: {case.sent}: {answer.code}, wanted {case.code} {case.says}; touched {sorted(touched)}\n{text[-1500:]}\n"
                )
            rows.append((case, shown(message(case, answer), place)))
            shutil.rmtree(place.folder, ignore_errors=True)
        with server(made.digits, made.table) as url:
            for request in REQUESTS:
                answer = ask(request, url)
                if answer.code != request.status or not all(word in answer.out for word in request.says):
                    wrong += 1
                    print(
                        f"WRONG request: {request.sent}: {answer.code}, wanted {request.status} {request.says}\n{answer.out[:600]}\n"
                    )
                replies.append((request, answer.out[:600]))
    nursery.close()
    if wrong:
        print(f"{wrong} wrong; the page is not written")
        return 1
    PAGE.write_text(page(rows, replies), encoding="utf-8")
    print(f"{len(rows) + len(replies)} cases in {PAGE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(_nursery() if "--nursery" in sys.argv else main())
