"""Compile the interface definitions of third_party/ to the one file that the server reads its messages from.

    python tools/build_protos.py            # writes src/bedplate/serving/protos.binpb
    python tools/build_protos.py --check    # fails where that file isn't up to date

It needs grpcio-tools (a development dependency); a server needs none of it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
THIRD_PARTY = ROOT / "third_party"
OUT = ROOT / "src" / "bedplate" / "serving" / "protos.binpb"

# What a server speaks; whatever these import comes with them.
WANTED = (
    "tensorflow_serving/apis/prediction_service.proto",
    "tensorflow_serving/apis/model_service.proto",
    "grpc_service.proto",
    "grpc_health/v1/health.proto",
)


def compiled() -> bytes:
    """Return the FileDescriptorSet of all wanted files and their imports; equal sources give equal bytes."""
    roots = sorted(folder for folder in THIRD_PARTY.iterdir() if folder.is_dir())
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "set.binpb"
        subprocess.run(
            [sys.executable, "-m", "grpc_tools.protoc", *(f"-I{root}" for root in roots), "--include_imports",
             f"--descriptor_set_out={out}", *WANTED],
            check=True,
        )  # fmt: skip
        return out.read_bytes()


def main() -> int:
    """Write the file, or check it."""
    found = compiled()
    if "--check" in sys.argv[1:]:
        if OUT.read_bytes() == found:
            return 0
        print(f"{OUT.relative_to(ROOT)} isn't what third_party/ compiles to; run python tools/build_protos.py")
        return 1
    OUT.write_bytes(found)
    print(f"{OUT.relative_to(ROOT)}: {len(found):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
