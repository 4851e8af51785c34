"""Named sets: where they are looked for, in which order, and what is said when they aren't there."""

from __future__ import annotations

import functools
import gzip
import http.server
import struct
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bedplate.core.errors import DataError
from bedplate.core.hashing import sha256_bytes
from bedplate.data.named import IDX_FILES, NAMED, NamedSet, load_idx, locate


def idx(array: np.ndarray) -> bytes:
    """An array as a gzip IDX file."""
    head = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return gzip.compress(head + array.tobytes(), mtime=0)


IMAGES = np.arange(5 * 16, dtype=np.uint8).reshape(5, 4, 4)
FILES = dict(
    zip(IDX_FILES, (idx(IMAGES), idx(np.arange(5, dtype=np.uint8)), idx(IMAGES[:2]), idx(np.arange(2, dtype=np.uint8))),
        strict=True)
)  # fmt: skip


@pytest.fixture
def published(tmp_path: Path) -> Iterator[NamedSet]:
    """A small set in MNIST's format, published by a real server; `$BEDPLATE_DATA` is not set, the cache is empty."""
    folder = tmp_path / "published"
    folder.mkdir()
    for name, data in FILES.items():
        (folder / name).write_bytes(data)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(
            self,
            format: str,  # noqa: A002
            *args: object,
        ) -> None:
            """Keep the test's output quiet."""

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        sums = {name: sha256_bytes(data) for name, data in FILES.items()}
        yield NamedSet("small", "idx", sums, f"http://127.0.0.1:{httpd.server_address[1]}/", tuple("01234"))
        httpd.shutdown()


@pytest.fixture(autouse=True)
def places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Keep the machine's own data and cache out of these tests."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if not request.node.get_closest_marker("data"):
        monkeypatch.delenv("BEDPLATE_DATA", raising=False)


def test_downloaded_once_then_taken_from_the_cache(published: NamedSet, tmp_path: Path) -> None:
    told: list[str] = []
    found = load_idx(published, told.append)
    assert np.array_equal(found.train_images, IMAGES)
    assert found.test_targets.tolist() == [0, 1]
    assert found.train_targets.dtype == np.int64
    assert len(told) == 4
    load_idx(published, told.append)
    assert len(told) == 4
    (tmp_path / "cache/bedplate/small" / IDX_FILES[0]).write_bytes(b"rotten")
    load_idx(published, told.append)
    assert len(told) == 5


def test_own_folder_comes_first(published: NamedSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "own/small"
    own.mkdir(parents=True)
    for name in IDX_FILES[:2]:
        (own / name).write_bytes(FILES[name])
    monkeypatch.setenv("BEDPLATE_DATA", str(tmp_path / "own"))
    told: list[str] = []
    paths = locate(published, told.append)
    assert [paths[name].parent.parent.name for name in IDX_FILES] == ["own", "own", "bedplate", "bedplate"]
    assert len(told) == 2
    (own / IDX_FILES[0]).write_bytes(FILES[IDX_FILES[0]][:-3])
    with pytest.raises(DataError, match=r"not the published file of 'small'.*SHA-256.*remove it"):
        locate(published, told.append)


def test_without_a_network_the_message_says_where_to_put_the_files(published: NamedSet) -> None:
    with pytest.raises(DataError, match=r"download failed.*put train-images-idx3-ubyte.gz into \$BEDPLATE_DATA/small/"):
        locate(replace(published, address="http://127.0.0.1:9/"), print)


def test_a_set_without_an_address_says_where_to_put_it() -> None:
    with pytest.raises(DataError, match=r"no official address.*put train.tar.xz into \$BEDPLATE_DATA/cifar10-jpeg/"):
        locate(NAMED["cifar10-jpeg"], print)


@pytest.mark.parametrize("change", ["count", "label", "axes"])
def test_files_that_do_not_belong_together(change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = dict(FILES)
    if change == "count":
        files[IDX_FILES[1]] = idx(np.arange(4, dtype=np.uint8))
    elif change == "label":
        files[IDX_FILES[1]] = idx(np.array([0, 1, 2, 3, 9], np.uint8))
    else:
        files[IDX_FILES[0]] = files[IDX_FILES[1]]
    own = tmp_path / "own/small"
    own.mkdir(parents=True)
    for name, data in files.items():
        (own / name).write_bytes(data)
    monkeypatch.setenv("BEDPLATE_DATA", str(tmp_path / "own"))
    sums = {name: sha256_bytes(data) for name, data in files.items()}
    with pytest.raises(DataError, match=r"don't belong together"):
        load_idx(NamedSet("small", "idx", sums, None, tuple("01234")), print)


@pytest.mark.data
@pytest.mark.parametrize("name", sorted(NAMED))
def test_the_checksums_are_those_of_the_published_files(name: str) -> None:
    told: list[str] = []
    assert list(locate(NAMED[name], told.append)) == list(NAMED[name].files)
    assert told == []
    if NAMED[name].kind == "idx":
        found = load_idx(NAMED[name], told.append)
        assert found.train_images.shape == (60_000, 28, 28)
        assert found.test_images.shape == (10_000, 28, 28)
        assert np.bincount(found.test_targets).min() >= 892
