"""The limits of a container, read from made-up trees of cgroup v1 and v2: whether to spin, and what may be created.

What the kernel shows is imitated file by file; that a real group's files are found is in test_room.py (memory) and in
tests/process/test_oversubscribed.py (CPU).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ipc._core import arguments, cgroup

Tree = Callable[[dict[str, str]], None]

V2 = "30 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
V1_CPU = "31 24 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid - cgroup cgroup rw,cpu,cpuacct\n"
V1_MEMORY = "32 24 0:28 / /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory\n"


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tree]:
    """Give a function that makes /proc and /sys of these files, for the module that reads them."""
    read = cgroup._read

    def make(files: dict[str, str]) -> None:
        for name, text in files.items():
            path = tmp_path / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="ascii")

    monkeypatch.setattr(cgroup, "_read", lambda path: read(tmp_path / path.relative_to("/")))
    cgroup._mounts.cache_clear()
    arguments._cpus_to_spend.cache_clear()
    yield make
    cgroup._mounts.cache_clear()
    arguments._cpus_to_spend.cache_clear()


def v2(path: str, mounts: str = V2) -> dict[str, str]:
    return {"/proc/self/mountinfo": mounts, "/proc/self/cgroup": f"0::{path}\n"}


def v1(path: str, mounts: str = V1_CPU + V1_MEMORY) -> dict[str, str]:
    groups = f"5:memory:{path}\n4:cpu,cpuacct:{path}\n1:name=systemd:/init\n"
    return {"/proc/self/mountinfo": mounts, "/proc/self/cgroup": groups}


def v1_cpu(group: str, quota: int, period: int = 100_000) -> dict[str, str]:
    directory = f"/sys/fs/cgroup/cpu,cpuacct{group}"
    return {f"{directory}/cpu.cfs_quota_us": f"{quota}\n", f"{directory}/cpu.cfs_period_us": f"{period}\n"}


CPU_TREES: dict[str, tuple[dict[str, str], float]] = {
    "nothing mounted": ({}, math.inf),
    "v2 without a limit": (v2("/a") | {"/sys/fs/cgroup/a/cpu.max": "max 100000\n"}, math.inf),
    "v2 without the controller": (v2("/a"), math.inf),
    "v2": (v2("/a") | {"/sys/fs/cgroup/a/cpu.max": "150000 100000\n"}, 1.5),
    "v2, half a CPU": (v2("/a") | {"/sys/fs/cgroup/a/cpu.max": "50000 100000\n"}, 0.5),
    "v2, on an ancestor": (
        v2("/a/b/c") | {"/sys/fs/cgroup/a/cpu.max": "100000 50000\n", "/sys/fs/cgroup/a/b/c/cpu.max": "max 100000\n"},
        2.0,
    ),
    "v2, the least of all": (
        v2("/a/b") | {"/sys/fs/cgroup/a/cpu.max": "25000 100000\n", "/sys/fs/cgroup/a/b/cpu.max": "400000 100000\n"},
        0.25,
    ),
    "v2, a namespace whose root is the group": (v2("/") | {"/sys/fs/cgroup/cpu.max": "30000 10000\n"}, 3.0),
    "v2, a container that sees only its part": (
        v2("/docker/1/x", V2.replace(" / /sys", " /docker/1 /sys")) | {"/sys/fs/cgroup/x/cpu.max": "100000 100000\n"},
        1.0,
    ),
    "v2, somebody else's group": (v2("/a") | {"/sys/fs/cgroup/b/cpu.max": "10000 100000\n"}, math.inf),
    "v2, not what it should be": (v2("/a") | {"/sys/fs/cgroup/a/cpu.max": "\n"}, math.inf),
    "v1 without a limit": (v1("/a") | v1_cpu("/a", -1), math.inf),
    "v1": (v1("/a") | v1_cpu("/a", 250_000), 2.5),
    "v1, on an ancestor": (v1("/a/b") | v1_cpu("/a", 80_000, 40_000) | v1_cpu("/a/b", -1), 2.0),
    "v1, at the root": (v1("/") | v1_cpu("", 50_000), 0.5),
    "v1, a container that sees only its part": (
        v1("/docker/1", V1_CPU.replace(" / /sys", " /docker/1 /sys")) | v1_cpu("", 75_000),
        0.75,
    ),
    "v1, a period of nothing": (v1("/a") | v1_cpu("/a", 100_000, 0), math.inf),
    "both, the quota in v1": (
        v1("/a", V1_CPU + V2.replace("/sys/fs/cgroup ", "/sys/fs/cgroup/unified ")) | v1_cpu("/a", 100_000),
        1.0,
    ),
}


@pytest.mark.parametrize(("files", "quota"), CPU_TREES.values(), ids=CPU_TREES)
def test_the_cpu_quota_is_read(tree: Tree, files: dict[str, str], quota: float) -> None:
    tree(files)
    assert cgroup.cpu_quota() == quota


@pytest.mark.parametrize(("files", "quota"), CPU_TREES.values(), ids=CPU_TREES)
def test_an_automatic_spin_wants_two_cpus(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], quota: float
) -> None:
    tree(files)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    spin_ns = arguments.spin_ns("auto")
    assert (spin_ns == 0) == (quota < 2)
    assert arguments.spin_ns(0.00001) == 10_000  # whoever asks for it gets it


@pytest.mark.parametrize("cpus", [1, None])
def test_a_machine_with_one_cpu_does_not_spin(tree: Tree, monkeypatch: pytest.MonkeyPatch, cpus: int | None) -> None:
    tree({})
    monkeypatch.setattr(os, "cpu_count", lambda: cpus)
    assert arguments.spin_ns("auto") == 0


def test_the_memory_limit_of_either_version_is_read_and_cache_counts_as_free(tree: Tree) -> None:
    tree(
        v2("/a/b")
        | {
            "/sys/fs/cgroup/a/memory.max": "1000\n",
            "/sys/fs/cgroup/a/memory.current": "700\n",
            "/sys/fs/cgroup/a/memory.stat": "anon 5\ninactive_file 100\n",
            "/sys/fs/cgroup/a/b/memory.max": "max\n",
            "/sys/fs/cgroup/a/b/memory.current": "700\n",
        }
    )
    assert cgroup.memory_free() == 400


def test_a_memory_limit_of_the_first_version_that_is_none_is_none(tree: Tree) -> None:
    group = "/sys/fs/cgroup/memory/a"
    tree(v1("/a") | {f"{group}/memory.usage_in_bytes": "700\n", f"{group}/memory.limit_in_bytes": f"{2**63 - 4096}\n"})
    assert cgroup.memory_free() == math.inf
    tree({f"{group}/memory.limit_in_bytes": "1000\n", f"{group}/memory.stat": "total_inactive_file 50\n"})
    assert cgroup.memory_free() == 350
