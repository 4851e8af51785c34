"""What the machine grants, from real texts of several systems and made-up cgroup trees."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from bedplate.core import machine

ZEN4 = "processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu sse4_2 avx avx2 avx512f avx512_vnni avx512_bf16 xsave\n"
GRAVITON = "processor\t: 0\nFeatures\t: fp asimd evtstrm aes asimddp sve i8mm bf16\n"
APPLE = (
    "hw.optional.AdvSIMD: 1\nhw.optional.arm.FEAT_DotProd: 1\nhw.optional.arm.FEAT_I8MM: 0\nhw.memsize: 17179869184\n"
)
INTEL_MAC = "machdep.cpu.features: FPU SSE4.2 AVX1.0 FMA F16C\nmachdep.cpu.leaf7_features: AVX2 AVX512F AVX512VNNI\n"


def test_features_have_the_same_names_on_every_system() -> None:
    assert machine.features_of_cpuinfo(ZEN4) == {"sse4_2", "avx", "avx2", "avx512f", "avx512_vnni", "avx512_bf16"}
    assert machine.features_of_cpuinfo(GRAVITON) == {"neon", "dotprod", "sve", "i8mm", "bf16"}
    assert machine.features_of_sysctl(APPLE) == {"neon", "dotprod"}
    assert machine.features_of_sysctl(INTEL_MAC) == {"sse4_2", "avx", "fma", "f16c", "avx2", "avx512f", "avx512_vnni"}
    assert machine.features_of_cpuinfo("") == frozenset()


def test_the_quota_is_read_from_both_cgroup_versions_and_the_smallest_binds(tmp_path: Path) -> None:
    two, one, free = tmp_path / "two", tmp_path / "one", tmp_path / "free"
    for folder in (two, one, free):
        folder.mkdir()
    (two / "cpu.max").write_text("150000 100000\n")
    (one / "cpu.cfs_quota_us").write_text("400000\n")
    (one / "cpu.cfs_period_us").write_text("100000\n")
    (free / "cpu.max").write_text("max 100000\n")
    assert machine.cpu_quota([two]) == 1.5
    assert machine.cpu_quota([one]) == 4.0
    assert machine.cpu_quota([free, one, two]) == 1.5
    assert machine.cpu_quota([free, tmp_path / "nowhere"]) is None


def test_the_folders_of_a_cgroup_reach_up_to_its_root(tmp_path: Path) -> None:
    proc = tmp_path / "cgroup"
    proc.write_text("0::/kubepods/pod7\n")
    folders = machine.cgroup_folders("cpu", proc=proc, root=tmp_path)
    assert folders[:3] == [tmp_path / "kubepods/pod7", tmp_path / "kubepods", tmp_path]
    proc.write_text("4:memory:/slice\n1:cpu,cpuacct:/docker/abc\n")
    (tmp_path / "cpu,cpuacct").mkdir()
    assert machine.cgroup_folders("cpu", proc=proc, root=tmp_path)[0] == tmp_path / "cpu,cpuacct/docker/abc"


def test_this_machine_is_described_in_json() -> None:
    facts = json.loads(json.dumps(machine.describe()))
    assert 1 <= facts["threads"] <= (os.cpu_count() or 1)
    assert facts["memory_bytes"] > 1 << 20
    assert facts["versions"]["numpy"]
    assert set(facts["features"]) <= set(machine.FEATURES)


def test_freed_memory_goes_back_to_the_system() -> None:
    """Small blocks beneath a living one stay with the allocator until it is asked."""
    statm = Path("/proc/self/statm")
    blocks = [bytearray(100_000) for _ in range(2000)]
    kept = bytearray(100_000)
    del blocks
    before = int(statm.read_text().split()[1]) if statm.exists() else 0
    machine.give_back_memory()
    assert not statm.exists() or int(statm.read_text().split()[1]) <= before
    assert len(kept) == 100_000


def test_a_library_may_not_keep_this_threads_stack_for_signals() -> None:
    """As OpenVINO does, which frees it later: the next signal would end the process."""
    text = """
import ctypes, os, signal
from bedplate.core.machine import _SignalStack, own_signal_stack
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
size = 1 << 16
place = libc.mmap(None, size, 3, 0x22, -1, 0)
with own_signal_stack():
    libc.sigaltstack(ctypes.byref(_SignalStack(place, 0, size)), None)
libc.munmap(ctypes.c_void_p(place), ctypes.c_size_t(size))
signal.signal(signal.SIGTERM, lambda *_: print("taken", flush=True))
os.kill(os.getpid(), signal.SIGTERM)
"""
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "taken")
