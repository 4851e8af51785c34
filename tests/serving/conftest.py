"""One real server for all tests of the protocols: an image classifier 'small' and a table regressor 'prices'."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.bundle.boxes import table_bundle, watched_image_bundle
from tests.serving.running import running

from bedplate.bundle import Bundle


@pytest.fixture(scope="session")
def image_box(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return watched_image_bundle(tmp_path_factory.mktemp("boxes") / "image")


@pytest.fixture(scope="session")
def table_box(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return table_bundle(tmp_path_factory.mktemp("boxes") / "table")


@pytest.fixture(scope="session")
def server(image_box: Bundle, table_box: Bundle) -> Iterator[str]:
    with running([("", image_box.path), ("", table_box.path)]) as process:
        yield process.url
        code, said = process.stop()
        assert (code, said.strip()) == (0, "HEAVY []")


@pytest.fixture
def client(server: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server, timeout=30) as client:
        yield client


@pytest.fixture
def png(tmp_path: Path) -> bytes:
    from tests.bundle.boxes import images

    from bedplate.serving.describe import to_png

    return to_png(images(1, seed=5)[0])
