"""What this machine grants: processor features, threads, memory, a GPU, and the versions of the main packages.

Nothing here imports torch, and nothing is guessed: what can't be found out is None or absent.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

FEATURES = (
    "sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx_vnni",
    "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16",
    "neon", "dotprod", "i8mm", "sve", "bf16",
)  # fmt: skip
"""The processor features that matter to a model's speed or exactness, by their Linux names."""

_RENAMED = {
    "asimd": "neon", "asimddp": "dotprod",
    "avx512vnni": "avx512_vnni", "avxvnni": "avx_vnni", "sse4.2": "sse4_2", "avx1.0": "avx",
    "feat_dotprod": "dotprod", "feat_i8mm": "i8mm", "feat_bf16": "bf16", "neon": "neon", "advsimd": "neon",
}  # fmt: skip

PACKAGES = (
    "bedplate", "numpy", "onnxruntime", "openvino", "pillow", "safetensors", "grpcio", "httptools",
    "torch", "onnx", "onnxscript", "scikit-learn", "pyarrow",
)  # fmt: skip

_CGROUP = Path("/sys/fs/cgroup")
_NO_LIMIT = 1 << 60


def _command(*words: str) -> str:
    """Return a command's output, or "" where it can't be run."""
    program = shutil.which(words[0])
    if program is None:
        return ""
    try:
        done = subprocess.run([program, *words[1:]], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _known(flags: list[str]) -> frozenset[str]:
    named = {_RENAMED.get(flag.lower(), flag.lower()) for flag in flags}
    return frozenset(named & set(FEATURES))


def features_of_cpuinfo(text: str) -> frozenset[str]:
    """Return the known features in the text of Linux's /proc/cpuinfo (x86 `flags`, ARM `Features`)."""
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip().lower() in {"flags", "features"}:
            return _known(value.split())
    return frozenset()


def features_of_sysctl(text: str) -> frozenset[str]:
    """Return the known features in the output of macOS's `sysctl -a` (Intel lists, or Apple `FEAT_x: 1` lines)."""
    flags: list[str] = []
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name in {"machdep.cpu.features", "machdep.cpu.leaf7_features"}:
            flags += value.split()
        elif name.startswith("hw.optional.") and value.strip() == "1":
            flags.append(name.rsplit(".", 1)[-1])
    return _known(flags)


@cache
def cpu_features() -> frozenset[str]:
    """Return the features of this processor among `FEATURES`; empty where the system doesn't say."""
    if platform.system() == "Darwin":
        return features_of_sysctl(_command("sysctl", "-a"))
    return features_of_cpuinfo(_read(Path("/proc/cpuinfo")))


@cache
def cpu_model() -> str:
    """Return the processor's name, or its architecture where the system doesn't say."""
    if platform.system() == "Darwin":
        return _command("sysctl", "-n", "machdep.cpu.brand_string").strip() or platform.machine()
    for line in _read(Path("/proc/cpuinfo")).splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def cgroup_folders(controller: str, *, proc: Path = Path("/proc/self/cgroup"), root: Path = _CGROUP) -> list[Path]:
    """Return the folders whose limits bind this process, innermost first; `controller` is "cpu" or "memory".

    Version 2 has one tree, version 1 a tree a controller; a limit of any ancestor binds, too.
    """
    folders: list[Path] = []
    for line in _read(proc).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, inside = rest.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        tree = root if not controllers else root / controllers
        if controllers and not tree.is_dir():
            tree = root / controller
        folder = tree / inside.strip().lstrip("/")
        while tree in (folder, *folder.parents):
            folders.append(folder)
            folder = folder.parent
    return [*folders, root, root / controller]


def cpu_quota(folders: list[Path] | None = None) -> float | None:
    """Return the processors that cgroups (version 1 or 2) grant, or None where there is no limit."""
    quotas: list[float] = []
    for folder in cgroup_folders("cpu") if folders is None else folders:
        words = _read(folder / "cpu.max").split()
        if not words:
            words = [_read(folder / "cpu.cfs_quota_us").strip(), _read(folder / "cpu.cfs_period_us").strip()]
        try:
            quota, period = float(words[0]), float(words[1])
        except (ValueError, IndexError):
            continue  # "max", or no such file: this level sets no limit
        if quota > 0 and period > 0:
            quotas.append(quota / period)
    return min(quotas) if quotas else None


def threads_granted() -> int:
    """Return how many threads can run at once here: the least of processors, affinity and cgroup quota, at least 1."""
    threads = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        threads = min(threads, len(os.sched_getaffinity(0)))
    quota = cpu_quota()
    # A quota of 1.5 processors runs two threads half throttled, so it is rounded down.
    return max(1, min(threads, int(quota)) if quota is not None else threads)


def process_started() -> float:
    """Return when this process began, on the clock of `time.monotonic`; where the system doesn't say, now."""
    try:
        # The 22nd field, in clock ticks since boot; the second one, the program's name, may hold blanks.
        ticks = int(_read(Path("/proc/self/stat")).rpartition(")")[2].split()[19])
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (IndexError, ValueError, AttributeError, OSError):
        return time.monotonic()
    return time.monotonic() - max(age, 0.0)


def memory_limit() -> int | None:
    """Return the bytes of memory granted (the least of installed memory and cgroup limits), or None."""
    limits: list[int] = []
    try:
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (ValueError, OSError, AttributeError):
        installed = _command("sysctl", "-n", "hw.memsize").strip()
        limits += [int(installed)] if installed.isdigit() else []
    for folder in cgroup_folders("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            text = _read(folder / name).strip()
            if text.isdigit() and int(text) < _NO_LIMIT:
                limits.append(int(text))
    return min(limits) if limits else None


class _SignalStack(ctypes.Structure):
    _fields_ = [("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]


@contextlib.contextmanager
def own_signal_stack() -> Iterator[None]:
    """Keep this thread's stack for signals as it was, whatever a library does to it meanwhile.

    OpenVINO's CPU plugin gives the thread that loads it another one, and frees it when the plugin goes, in whatever
    thread that is. The next signal, as SIGTERM to a server, would be taken on freed memory and end the process.
    """
    before = _SignalStack()
    libc: Any = None
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        with contextlib.suppress(AttributeError):
            libc.sigaltstack(ctypes.byref(before), None)


def give_back_memory() -> None:
    """Give memory that is free in this process back to the system, where its allocator (glibc) keeps it otherwise."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def gpus() -> list[str]:
    """Return the names of NVIDIA GPUs that the driver shows; empty where there are none."""
    listed = _command("nvidia-smi", "--query-gpu=name", "--format=csv,noheader").splitlines()
    if listed:
        return [name.strip() for name in listed if name.strip()]
    return [
        line.partition(":")[2].strip()
        for file in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
        for line in _read(file).splitlines()
        if line.startswith("Model:")
    ]


def versions() -> dict[str, str]:
    """Return the versions of Python and of those main packages that are installed (without importing them)."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue  # not installed: the serve side lives without the training packages
    return found


def describe() -> dict[str, Any]:
    """Return all of this as JSON, for reports, lineage and `bedplate doctor`."""
    return {
        "system": platform.system(),
        "release": platform.release(),
        "machine": platform.machine(),
        "cpu": cpu_model(),
        "features": sorted(cpu_features()),
        "processors": os.cpu_count() or 1,
        "cgroup_quota": cpu_quota(),
        "threads": threads_granted(),
        "memory_bytes": memory_limit(),
        "gpus": gpus(),
        "versions": versions(),
    }
