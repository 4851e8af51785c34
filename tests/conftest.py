"""What all tests share: the folder of real datasets, and honest skips where a machine lacks something."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A crowded machine is slow at any moment; what a property says of the code has nothing to do with that. Examples are new
# ones in every run but the gate's, which judges a change and not the day's draw.
settings.register_profile(
    "bedplate", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="CI" in os.environ
)
settings.load_profile("bedplate")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, with the reason, what this machine can't run."""
    root = os.environ.get("BEDPLATE_DATA")
    no_data = pytest.mark.skip(reason="needs the datasets: set BEDPLATE_DATA to their folder")
    no_browser = pytest.mark.skip(reason="needs Debian's chromium on the PATH")
    for item in items:
        if item.get_closest_marker("data") and not (root and Path(root).is_dir()):
            item.add_marker(no_data)
        if item.get_closest_marker("browser") and CHROMIUM is None:
            item.add_marker(no_browser)


@pytest.fixture
def data_root() -> Path:
    """The folder of real datasets."""
    return Path(os.environ["BEDPLATE_DATA"])
