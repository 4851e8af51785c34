"""Every format says what it needs, and no name is taken for another."""

from __future__ import annotations

import pytest

from bedplate.core.errors import InputError
from bedplate.export.formats import FORMATS, find_format


def test_names_and_int8() -> None:
    assert sorted(FORMATS) == ["litert", "onnx-fp16", "openvino", "torch-export"]
    assert all(find_format(name).name == name for name in FORMATS)
    assert [name for name, one in FORMATS.items() if one.int8_limits] == ["litert", "openvino"]
    with pytest.raises(InputError, match="did you mean 'openvino'"):
        find_format("openvin")
    with pytest.raises(InputError, match=r"torch-export has no int8 \(expected --to litert or openvino\)"):
        find_format("torch-export", int8=True)


def test_what_is_missing_is_named_with_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "litert_torch" else object())
    with pytest.raises(InputError, match=r'no litert_torch\). pip install "bedplate\[litert\]"'):
        FORMATS["litert"].need_packages()
    FORMATS["torch-export"].need_packages()
