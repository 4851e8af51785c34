"""Files and folders appear whole or not at all."""

from __future__ import annotations

import resource
import signal
from pathlib import Path

import pytest

from bedplate.core.errors import InputError
from bedplate.core.files import atomic_folder, read_json, write_bytes, write_json


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.json"
    write_json(path, {"x": [1, "é"]})
    assert read_json(path) == {"x": [1, "é"]}
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"x": float("nan")})
    assert read_json(path) == {"x": [1, "é"]}
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    write_bytes(path, b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(InputError, match="no room left"):
            write_bytes(path, b"x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_a_folder_appears_only_when_it_is_finished(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "good") as work:
        (work / "f").write_text("x")
        assert not (tmp_path / "good").exists()
    assert (tmp_path / "good" / "f").read_text() == "x"
    with pytest.raises(ZeroDivisionError), atomic_folder(tmp_path / "bad") as work:
        (work / "f").write_text(str(1 / 0))
    assert [path.name for path in tmp_path.iterdir()] == ["good"]
    with pytest.raises(InputError, match="already exists"), atomic_folder(tmp_path / "good"):
        pass


def test_broken_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(InputError, match=r"b\.json"):
        read_json(tmp_path / "b.json")
    with pytest.raises(InputError, match="no such file"):
        read_json(tmp_path / "none.json")
