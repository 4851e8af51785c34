"""Bundles that are damaged, forged or impossible, laid into the folder of a running server: it says why and goes on."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
from onnx import load_from_string
from tests.bundle.boxes import image_bundle, image_graph
from tests.serving.running import SOURCE, command
from tests.serving.test_follow import publish, states, until

from bedplate.bundle import Bundle, pack_archive


def resealed(folder: Path, **changed: bytes) -> None:
    """Give a bundle other content under a good seal: what a forger would do."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    for name, data in changed.items():
        path = name.replace("__", "/").replace("_dot_", ".")
        (folder / path).write_bytes(data)
        manifest["files"][path] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    seal(folder, manifest)


def seal(folder: Path, manifest: dict) -> None:
    text = (json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
    (folder / "manifest.json").write_bytes(text)
    (folder / "BUNDLE_ID").write_text(hashlib.sha256(text).hexdigest() + "\n")


def cut(folder: Path) -> None:
    graph = folder / "graphs" / "f32.onnx"
    graph.write_bytes(graph.read_bytes()[:-1])


def flip(folder: Path) -> None:
    graph = folder / "graphs" / "f32.onnx"
    data = bytearray(graph.read_bytes())
    data[len(data) // 2] ^= 1
    graph.write_bytes(data)


def linked(folder: Path) -> None:
    report = folder / "report.json"
    report.rename(folder.parent / "outside.json")
    report.symlink_to(folder.parent / "outside.json")


def piped(folder: Path) -> None:
    (folder / "report.json").unlink()
    os.mkfifo(folder / "report.json")


def piped_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    os.mkfifo(folder / "manifest.json")


def newer(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_bytes())
    seal(folder, manifest | {"format": 99})


def absolute(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["files"]["/etc/passwd"] = manifest["files"]["report.json"]
    seal(folder, manifest)


def outside(folder: Path) -> None:
    model = load_from_string((folder / "graphs" / "f32.onnx").read_bytes())
    tensor = model.graph.initializer[0]
    tensor.data_location = 1
    tensor.external_data.add(key="location", value="../../../etc/passwd")
    resealed(folder, graphs__f32_dot_onnx=model.SerializeToString())


def too_new(folder: Path) -> None:
    model = load_from_string((folder / "graphs" / "f32.onnx").read_bytes())
    model.opset_import[0].version = 999
    resealed(folder, graphs__f32_dot_onnx=model.SerializeToString())


def not_finite(folder: Path) -> None:
    model = load_from_string((folder / "graphs" / "f32.onnx").read_bytes())
    weights = next(t for t in model.graph.initializer if t.name == "weights")
    weights.raw_data = np.full((64, 3), np.nan, np.float32).tobytes()
    resealed(folder, graphs__f32_dot_onnx=model.SerializeToString())


def is_nonsense(folder: Path) -> None:
    resealed(folder, graphs__f32_dot_onnx=b"\x08\x0a\x3a\xff\xff\xff\xff\x7f")


FOLDERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (cut, "isn't the file that was sealed"),
    "flipped bit": (flip, "isn't the file that was sealed"),
    "missing file": (lambda folder: (folder / "report.json").unlink(), "missing"),
    "extra file": (lambda folder: (folder / "run.py").write_text("import os"), "never sealed"),
    "symlink": (linked, "link"),
    "pipe": (piped, "plain files only"),
    "pipe as manifest": (piped_manifest, "has lost a file"),
    "wrong id": (lambda folder: (folder / "BUNDLE_ID").write_text("0" * 64 + "\n"), "isn't the one that was sealed"),
    "newer format": (newer, "newer"),
    "absolute path": (absolute, "path"),
    "no manifest": (lambda folder: (folder / "manifest.json").write_text("[]"), "isn't the one that was sealed"),
    "external data": (outside, "keeps tensors in other files"),
    "opset too new": (too_new, "Opset 999"),
    "NaN weights": (not_finite, "golden"),
    "no graph": (is_nonsense, "not a readable ONNX graph"),
}


def whole(box: Bundle, folder: Path) -> bytes:
    return pack_archive(box.path, folder / "whole.bundle").read_bytes()


def slip(box: Bundle, folder: Path) -> bytes:
    return entry("../../slipped.txt", b"x")


def entry(name: str, data: bytes, kind: bytes = tarfile.REGTYPE, times: int = 1) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for _ in range(times):
            info = tarfile.TarInfo(name)
            info.size, info.type, info.linkname = len(data), kind, "/etc/passwd"
            archive.addfile(info, io.BytesIO(data))
    return held.getvalue()


ARCHIVES: dict[str, tuple[Callable[[Bundle, Path], bytes], str]] = {
    "empty archive": (lambda *_: b"", "cut short"),
    "half an archive": (lambda box, folder: whole(box, folder)[: 20 * 512], "cut short"),
    "path that leaves": (slip, "unsafe path"),
    "hard link": (lambda *_: entry("report.json", b"", tarfile.LNKTYPE), "plain files only"),
    "device": (lambda *_: entry("report.json", b"", tarfile.CHRTYPE), "plain files only"),
    "name twice": (lambda *_: entry("report.json", b"{}", times=2), "twice"),
}


def lay(name: str, number: int, box: Bundle, folder: Path, root: Path) -> str:
    """Lay a fault into a repository as a version; return what must be said of it."""
    aside = folder / f"aside{number}"
    if name in FOLDERS:
        damage, words = FOLDERS[name]
        shutil.copytree(box.path, aside)
        damage(aside)
        aside.rename(root / "small" / str(number))
        return words
    make, words = ARCHIVES[name]
    (folder / f"pack{number}").mkdir()
    aside.write_bytes(make(box, folder / f"pack{number}"))
    aside.rename(root / "small" / f"{number}.bundle")
    return words


def test_what_cannot_be_served_is_said_and_what_is_served_goes_on(tmp_path: Path, png: bytes) -> None:
    good, other = image_bundle(tmp_path / "good"), image_bundle(tmp_path / "other", graphs={"f32": image_graph(seed=3)})
    root, said = tmp_path / "models", tmp_path / "said.txt"
    publish(good, root / "small" / "1")
    (root / "small" / "serving.json").write_text(json.dumps({"versions": "all"}))
    with command("--repository", root, lines=said) as server:
        numbers = dict(enumerate((*FOLDERS, *ARCHIVES), 2))
        words = {number: lay(name, number, other, tmp_path, root) for number, name in numbers.items()}
        until(lambda: [states(server).get(number) for number in numbers] == ["END"] * len(numbers), 60)
        told = [line for line in said.read_text().splitlines() if line.startswith("not served")]
        for number, name in numbers.items():
            (line,) = [line for line in told if re.search(rf"/small/{number}\b", line)]
            assert words[number] in line, name
        assert "Traceback" not in said.read_text()
        assert httpx.post(f"{server.url}/predict/small", content=png).json()["bundle"] == good.id
        time.sleep(2.5)
        assert said.read_text().count("not served") == len(numbers), "each fault is said once, not every second"
        assert str(tmp_path) not in httpx.post(f"{server.url}/v2/repository/index", json={}).text
        publish(other, root / "small" / "100")
        until(lambda: httpx.post(f"{server.url}/predict/small", content=png).json()["bundle"] == other.id)
        assert server.stop()[0] == 0
    assert not list(tmp_path.rglob("slipped.txt"))


@pytest.mark.parametrize("name", ["truncated", "NaN weights", "pipe", "opset too new"])
def test_a_server_does_not_start_with_them_and_says_why(name: str, tmp_path: Path) -> None:
    damage, words = FOLDERS[name]
    box = image_bundle(tmp_path / "box")
    copy = Path(shutil.copytree(box.path, tmp_path / "copy"))
    damage(copy)
    done = subprocess.run(
        [sys.executable, "-m", "bedplate", "serve", str(copy), "--port", "0"], capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )  # fmt: skip
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
