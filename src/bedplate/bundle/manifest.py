"""The manifest: what a bundle says of itself, and the SHA-256 of everything in it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bedplate.bundle.layout import (
    BUNDLE_ID,
    FORMAT,
    MANIFEST,
    MOST_MANIFEST_BYTES,
    REQUIRED,
    VARIANT,
    check_path,
    graph_file,
)
from bedplate.core.errors import BundleError
from bedplate.core.hashing import sha256_bytes


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class FileEntry(_Closed):
    """One file's digest and size."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    size: Annotated[int, Field(ge=0)]


class Isa(_Closed):
    """Which processors a variant is meant for.

    `any_of`: it needs at least one of these features (of `bedplate.core.machine.FEATURES`); empty means all processors.
    `made_on`: the features of the processor on which it was measured.
    """

    any_of: list[str] = []
    made_on: list[str] = []


class Variant(BaseModel):
    """One kept graph: where it lies, why it was kept, where it runs, and how exactly it repeats its golden rows."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    graph: str
    reason: str = ""
    isa: Isa = Isa()
    tolerance: dict[str, Annotated[float, Field(ge=0)]] = {}


class Boundary(_Closed):
    """One tensor at the graph's boundary; `shape` leaves the row axis out, -1 stands for any size."""

    name: str
    dtype: str
    shape: list[int]


class Contract(_Closed):
    """Where the graph begins and ends, and how payloads and answers are translated.

    `outputs` stands only where there are several, or where the one isn't a classifier's or regressor's; `output` is
    then the first of them.
    """

    codec: dict[str, Any]
    answers: dict[str, Any]
    inputs: Annotated[list[Boundary], Field(min_length=1)]
    output: str
    outputs: Annotated[list[Boundary], Field(min_length=1)] | None = None


class Manifest(_Closed):
    """The whole manifest."""

    format: int
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    task: str
    created: str | None = None
    default: str
    variants: Annotated[dict[str, Variant], Field(min_length=1)]
    contract: Contract
    requires: dict[str, str]
    files: dict[str, FileEntry]

    def to_bytes(self) -> bytes:
        """Return the one text whose SHA-256 is the bundle's id."""
        value = self.model_dump(mode="json", exclude_none=True)
        text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
        return (text + "\n").encode()


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def parse_manifest(data: bytes, where: str) -> Manifest:
    """Return the manifest, or a BundleError that says what is wrong; the format's version is looked at first."""
    if len(data) > MOST_MANIFEST_BYTES:
        raise BundleError("the manifest is too large", where=where, expected=f"at most {MOST_MANIFEST_BYTES} bytes")
    try:
        value = json.loads(data.decode(), object_pairs_hook=_refuse_duplicates)
    except (ValueError, RecursionError) as error:
        raise BundleError("the manifest isn't JSON", where=where, received=str(error)[:200]) from error
    version = value.get("format") if isinstance(value, dict) else None
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise BundleError("the manifest doesn't say its format", where=where, received=repr(version))
    if version > FORMAT:
        raise BundleError(
            "this bundle is of a newer format", where=where, expected=f"at most format {FORMAT}",
            received=f"format {version}", hint="upgrade bedplate to open it",
        )  # fmt: skip
    try:
        manifest = Manifest.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise BundleError(f"the manifest is wrong at {place}", where=where, received=first["msg"]) from error
    _check_manifest(manifest, where)
    return manifest


def _check_manifest(manifest: Manifest, where: str) -> None:
    for name in manifest.files:
        check_path(name, where)
    folded = {name.lower() for name in manifest.files}
    if len(folded) != len(manifest.files):
        raise BundleError("two files of the bundle differ by case only", where=where)
    if folded & {MANIFEST.lower(), BUNDLE_ID.lower()}:
        raise BundleError("the manifest lists itself", where=where)
    for name in REQUIRED:
        if name not in manifest.files:
            raise BundleError("the manifest lacks a file that every bundle has", where=where, expected=name)
    for name, variant in manifest.variants.items():
        if not VARIANT.fullmatch(name) or variant.graph != graph_file(name) or variant.graph not in manifest.files:
            raise BundleError(f"the variant '{name}' has no graph of its own", where=where, received=variant.graph)
    if manifest.default not in manifest.variants:
        raise BundleError(
            "the default variant doesn't exist", where=where, expected=f"one of {sorted(manifest.variants)}",
            received=manifest.default,
        )  # fmt: skip


def read_manifest(folder: Path, where: str) -> tuple[Manifest, str]:
    """Return (manifest, id) of the bundle in `folder`, having checked that the id is the manifest's SHA-256."""
    if not folder.is_dir():
        raise BundleError("no such bundle", where=where, hint="give the folder or the .bundle file that `pack` wrote")
    for name in (MANIFEST, BUNDLE_ID):
        file = folder / name
        if file.is_symlink():
            raise BundleError("a bundle holds no symbolic links", where=where, received=name)
        if not file.is_file():
            inside = (folder / "bundle" / MANIFEST).is_file()
            raise BundleError(
                "this folder is no bundle, or has lost a file", where=where, expected=f"a file {name}",
                hint=f"it is a run's folder: name {where}/bundle" if inside else None,
            )  # fmt: skip
    data = (folder / MANIFEST).read_bytes()
    said = (folder / BUNDLE_ID).read_bytes()
    real = sha256_bytes(data)
    if not re.fullmatch(rb"[0-9a-f]{64}\n", said) or said.decode().strip() != real:
        wanted = said[:80].decode(errors="backslashreplace").strip()
        raise BundleError(
            "the manifest isn't the one that was sealed", where=where, expected=f"SHA-256 {wanted} of {BUNDLE_ID}",
            received=real, hint="the bundle is damaged or was changed; take a fresh copy",
        )  # fmt: skip
    return parse_manifest(data, f"{where}/{MANIFEST}"), real
