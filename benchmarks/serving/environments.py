"""Environments of the peers, in the system's temporary folder: made when missing, measured when asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from bedplate.core.hashing import sha256_bytes

ROOT = Path(__file__).parents[2]
HOME = Path(tempfile.gettempdir()) / "bedplate-peers"


class Missing(Exception):
    """A peer can't be installed or run here; the text says why."""


def environment(name: str, packages: tuple[str, ...]) -> Path:
    """Return the `bin` folder of an environment with these packages. Raises Missing with pip's last line."""
    folder = HOME / name
    binaries, ready = folder / "bin", folder / "ready"
    wanted = "\n".join(packages)
    own = name.startswith("bedplate")
    if own:  # its packages are those of the sources as they are now; what they no longer need mustn't be weighed
        wanted += "\n" + sha256_bytes((ROOT / "pyproject.toml").read_bytes() + (ROOT / "constraints.txt").read_bytes())
    if ready.exists() and ready.read_text() == wanted:
        return binaries
    print(f"making the environment {name}", flush=True)
    free = {key: value for key, value in os.environ.items() if key != "PIP_CONSTRAINT"}
    if own:
        free["PIP_CONSTRAINT"] = str(ROOT / "constraints.txt")
    if own or not binaries.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    done = subprocess.run(
        [binaries / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages],
        env=free, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["pip failed"]
        raise Missing(f"can't be installed: {errors[-1][:200]}")
    ready.write_text(wanted)
    return binaries


def installed(binaries: Path, names: tuple[str, ...]) -> dict[str, str]:
    """Return the versions of some packages of an environment."""
    program = (
        "import sys, json, importlib.metadata as m\n"
        "found = {d.metadata['Name'].lower(): d.version for d in m.distributions() if d.metadata['Name']}\n"
        "print(json.dumps({n: found[n] for n in sys.argv[1:] if n in found}))"
    )
    done = subprocess.run([binaries / "python", "-c", program, *names], capture_output=True, text=True, check=True)
    versions: dict[str, str] = json.loads(done.stdout)
    return versions


def megabytes(binaries: Path) -> float:
    """Return what an environment takes on the disk, in units of 10⁶ bytes, without the packages that it came with."""
    folder = binaries.parent
    total = sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() or path.is_symlink())
    if folder.name.startswith("bedplate"):  # installed as a link to the sources
        total += sum(path.stat().st_size for path in (ROOT / "src").rglob("*") if path.is_file())
        total += sum(path.stat().st_size for path in (ROOT / "recipes").rglob("*") if path.is_file())
    for own in folder.glob("lib/python*/site-packages/*"):
        if own.name.split("-")[0] in ("pip", "setuptools"):
            total -= sum(path.lstat().st_size for path in own.rglob("*") if path.is_file())
    return total / 1e6
