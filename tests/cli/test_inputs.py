from __future__ import annotations

from pathlib import Path

import pytest

from bedplate.cli.inputs import files_of
from bedplate.core.errors import PayloadError


def test_files_of_excel_are_told_as_that(tmp_path: Path) -> None:
    (tmp_path / "x.xlsx").write_bytes(b"PK\x03\x04")
    with pytest.raises(PayloadError, match=r"Excel files aren't read\. save the sheet as CSV"):
        files_of(tmp_path / "x.xlsx")
    (tmp_path / "x.csv").write_text("a\n1\n")
    assert files_of(tmp_path / "x.csv") == [tmp_path / "x.csv"]
