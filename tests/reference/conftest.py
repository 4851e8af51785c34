"""One thread for NumPy's products: the twin's matrices are small, and on a busy machine a second thread mostly waits."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from threadpoolctl import threadpool_limits


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    with threadpool_limits(1, user_api="blas"):
        yield
