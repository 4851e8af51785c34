"""A measured choice is remembered whole or not at all, and nothing depends on it."""

import threading
import time
from pathlib import Path

import pytest

from bedplate.serving import engine_cache
from bedplate.serving.engine_cache import Remembered, alone, folder, key, recall, remember

CHOICE = Remembered("onnxruntime", "f32", 1, 2, False, 8, {1: 0.01, 8: 0.05}, {"onnxruntime f32 1x2": 160.0}, "a note")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "bedplate" / "engines"


def test_what_was_remembered_is_recalled_under_its_key_alone(cache: Path) -> None:
    parts = key("a" * 64, "f32", 2, "auto")
    remember(parts, CHOICE)
    assert recall(parts) == CHOICE
    assert [file.suffix for file in cache.iterdir()] == [".json"]
    for other in (
        key("b" * 64, "f32", 2, "auto"), key("a" * 64, "int8", 2, "auto"), key("a" * 64, "f32", 4, "auto"),
        key("a" * 64, "f32", 2, "openvino"), {**parts, "cpu": "another"}, {**parts, "features": []},
        {**parts, "versions": {}},
    ):  # fmt: skip
        assert recall(other) is None


def test_a_damaged_file_is_as_good_as_none(cache: Path) -> None:
    parts = key("a" * 64, "f32", 2, "auto")
    remember(parts, CHOICE)
    (file,) = cache.glob("*.json")
    whole = file.read_bytes()
    for cut in range(0, len(whole), 7):  # truncated anywhere
        file.write_bytes(whole[:cut])
        assert recall(parts) is None
    for at in range(0, len(whole), 5):  # one byte changed: mostly found, and what is left still makes sense
        file.write_bytes(whole[:at] + b"\xff" + whole[at + 1 :])
        assert recall(parts) is None
    for other in (b"", b"[]", b"3", b"null", b"[" * 100_000, b'{"key": {}}'):
        file.write_bytes(other)
        assert recall(parts) is None


@pytest.mark.parametrize(
    "damage",
    [
        '"runners": 0',
        '"engine": "other"',
        '"precision": "int3"',
        '"most_rows": -1',
        '"times": {}',
        '"times": {"1": -1}',
    ],
)
def test_nonsense_is_refused(damage: str, cache: Path) -> None:
    import json

    parts = key("a" * 64, "f32", 2, "auto")
    remember(parts, CHOICE)
    (file,) = cache.glob("*.json")
    value = json.loads(file.read_bytes())
    value["choice"].update(json.loads("{" + damage + "}"))
    file.write_text(json.dumps(value))
    assert recall(parts) is None


def test_an_unwritable_folder_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    parts = key("a" * 64, "f32", 2, "auto")
    remember(parts, CHOICE)
    assert recall(parts) is None
    with alone():
        pass


def test_a_relative_folder_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    assert folder() == Path("~/.cache/bedplate/engines").expanduser()


def test_one_measures_at_a_time_and_nobody_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def other() -> None:
        with alone():
            order.append("second")

    with alone():
        thread = threading.Thread(target=other)
        thread.start()
        time.sleep(0.2)
        order.append("first")
    thread.join(5)
    assert order == ["first", "second"]
    monkeypatch.setattr(engine_cache, "_PATIENCE", 0.2)
    with alone():
        begun = time.monotonic()
        with alone():
            pass
        assert 0.1 < time.monotonic() - begun < 3
