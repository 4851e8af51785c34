from __future__ import annotations

import numpy as np
import pytest

from bedplate.core.errors import DataError
from bedplate.data.embedded import EMBEDDED_TABLES, digits, embedded_table


def test_digits_are_images_over_the_whole_range() -> None:
    images, labels, ids = digits()
    assert images.shape == (1797, 8, 8, 1)
    assert images.dtype == np.uint8
    assert (images.min(), images.max()) == (0, 255)
    assert set(labels) == set("0123456789")
    assert len(set(ids)) == 1797


@pytest.mark.parametrize("name", EMBEDDED_TABLES)
def test_embedded_tables_have_named_columns_and_their_target(name: str) -> None:
    table = embedded_table(name)
    assert EMBEDDED_TABLES[name] in table.columns
    assert all(len(values) == len(table) for values in table.columns.values())


def test_diabetes_is_in_its_own_units() -> None:
    assert max(embedded_table("diabetes").columns["age"]) > 70


def test_a_misspelt_name_is_answered() -> None:
    with pytest.raises(DataError, match="did you mean 'breast-cancer'"):
        embedded_table("brest-cancer")
