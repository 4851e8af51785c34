"""The sealed box: write, verify, open, predict."""

from bedplate.bundle.archive import pack_archive, unpack
from bedplate.bundle.bundle import Bundle
from bedplate.bundle.golden import Golden
from bedplate.bundle.write import write_bundle

__all__ = ["Bundle", "Golden", "pack_archive", "unpack", "write_bundle"]
