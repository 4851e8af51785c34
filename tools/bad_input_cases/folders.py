"""Output folders, full disks and interrupted work."""

from __future__ import annotations

import os
import shutil

from tools.bad_input_cases.case import Case, Place
from tools.bad_input_cases.tables import good_table

GROUP = "Where results go"
FULL = ("no room left to write", "File too large")


def stages(*kept: str) -> object:
    """Return what copies the finished run with only some of its stages."""

    def build(place: Place) -> None:
        copy = place.folder / "r"
        shutil.copytree(place.run, copy)
        for stage in {"train", "evaluate", "compress", "pack"} - set(kept):
            shutil.rmtree(copy / stage)
        shutil.rmtree(copy / "bundle")
        for name in ("report.html", "report.json", "MODEL_CARD.md", "recipe.yaml"):
            (copy / name).unlink(missing_ok=True)
        place.text("r/run.json", '{"format": 1, "state": "begun"}\n')

    return build


def _locked(place: Place) -> None:
    place.text("a.csv", good_table())
    (place.folder / "locked").mkdir(mode=0o500)


def _orphan_run(place: Place) -> None:
    place.text("r/.lock", "")
    place.text("r/run.json", '{"format": 1, "state": "begun"}\n')


def _finished(place: Place) -> None:
    shutil.copytree(place.run, place.folder / "r")


def _other_thing(place: Place) -> None:
    place.text("r/thesis.tex", "\\begin{document}\n")


def _half(place: Place) -> None:
    stages("train")(place)  # type: ignore[operator]
    checkpoint = place.folder / "r" / "train" / "weights.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])


def _broken_marker(place: Place) -> None:
    stages("train")(place)  # type: ignore[operator]
    place.text("r/train/stage.json", '{"stage": "tr')


_READ_ONLY = "/sys/r" if os.geteuid() == 0 else "locked/r"
"""A place where nobody may write, not even root."""

CASES = (
    Case(GROUP, "a folder that holds a run", "run digits --out r {overrides}", ("the folder holds a run already", "--resume", "--fresh"), build=_finished),
    Case(GROUP, "a folder that holds something else", "run digits --out r", ("something that is no run", "--out"), build=_other_thing),
    Case(GROUP, "--fresh on a folder that holds something else", "run digits --out r --fresh", ("something that is no run",), build=_other_thing),
    Case(GROUP, "a file where the folder should be", "run digits --out r", ("not a folder", "--out"), build=lambda place: place.text("r", "x")),
    Case(GROUP, "a folder below a file", "run digits --out r/x", ("can't write here", "--out"), build=lambda place: place.text("r", "x")),
    Case(GROUP, "a folder that may not be written", f"run digits --out {_READ_ONLY}", ("can't write here", "--out"), build=_locked),
    Case(GROUP, "a folder's name of 260 characters", "run digits --out " + "r" * 260, ("can't write here", "File name too long", "--out")),
    Case(GROUP, "init where a file is already", "init a.csv -o a.csv", ("the file is there already", "--force"), build=lambda place: place.text("a.csv", good_table())),
    Case(GROUP, "init -o into a folder that may not be written", f"init a.csv -o {_READ_ONLY}.yaml", ("can't write here",), build=_locked),
    Case(GROUP, "init -o of a folder", "init a.csv -o f --force", ("can't write here", "Is a directory"), build=lambda place: (place.text("a.csv", good_table()), place.text("f/x", "x"))),
    Case(GROUP, "resuming another recipe", "run digits --out r --resume {overrides} seed=7", ("another recipe or other data", "--fresh"), build=_finished),
    Case(GROUP, "evaluating what was never trained", "evaluate digits --out r", ("nothing is trained here yet", "bedplate train"), build=_orphan_run),
    Case(GROUP, "evaluating where no run is", "evaluate digits --out r", ("nothing is trained here yet", "bedplate train")),
    Case(GROUP, "packing what was never compressed", "pack digits --out r {overrides}", ("'compress' is not done", "bedplate compress"), build=stages("train", "evaluate")),
    Case(GROUP, "weights that were cut short", "evaluate digits --out r {overrides}", ("weights can't be read", "--fresh"), build=_half),
    Case(GROUP, "a stage's manifest that was cut short", "evaluate digits --out r {overrides}", ("stage.json", "manifest is damaged", "--fresh"), build=_broken_marker),
    Case(GROUP, "comparing with an unfinished run", "compare r {run}", ("no finished run", "--resume"), build=_orphan_run),
    Case(GROUP, "comparing with nothing", "compare {run}", ("nothing to compare with",)),
    Case(GROUP, "comparing with what isn't there", "compare {run} r", ("no finished run",)),
    Case(GROUP, "the disk full in init", "init a.csv", FULL, build=lambda place: place.text("a.csv", good_table(40)), most_bytes=400),
    Case(GROUP, "the disk full in train", "train digits --out r {overrides}", FULL, most_bytes=20_000),
    Case(GROUP, "the disk full in evaluate", "evaluate digits --out r {overrides}", FULL, build=stages("train"), most_bytes=2000),
    Case(GROUP, "the disk full in compress", "compress digits --out r {overrides}", FULL, build=stages("train", "evaluate"), most_bytes=20_000),
    Case(GROUP, "the disk full in pack", "pack digits --out r {overrides}", FULL, build=stages("train", "evaluate", "compress"), most_bytes=120_000),
)  # fmt: skip
