"""What the container allows: memory and CPU limits of cgroup v1 and v2, read from this process's own group up.

A limit may stand on any ancestor, so all of them are read.  A file that is missing or says "max" is no limit.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from pathlib import Path

__all__ = ["cpu_quota", "memory_free"]


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None


def _number(path: Path) -> int | None:
    text = _read(path)
    return int(text) if text is not None and text.lstrip("-").isdigit() else None


@functools.cache
def _mounts() -> dict[str, tuple[Path, str]]:
    """Controller ("" for v2) -> (mount point, the part of the hierarchy that is mounted there)."""
    found: dict[str, tuple[Path, str]] = {}
    for line in (_read(Path("/proc/self/mountinfo")) or "").splitlines():
        left, _, right = line.partition(" - ")
        fields, kind = left.split(), right.split()
        if len(fields) < 5 or len(kind) < 3:
            continue
        if kind[0] == "cgroup2":
            found.setdefault("", (Path(fields[4]), fields[3]))
        elif kind[0] == "cgroup":
            for controller in kind[2].split(","):
                found.setdefault(controller, (Path(fields[4]), fields[3]))
    return found


def _groups(controller: str) -> Iterator[Path]:
    """The directories of this process's group and its ancestors, innermost first."""
    mounted = _mounts().get(controller)
    if mounted is None:
        return
    mount, root = mounted
    for line in (_read(Path("/proc/self/cgroup")) or "").splitlines():
        _, names, path = line.split(":", 2)
        if controller not in names.split(","):
            continue
        inside = path.removeprefix(root.rstrip("/")).strip("/")
        group = mount / inside
        while True:
            yield group
            if group == mount or mount not in group.parents:
                return
            group = group.parent


def _reclaimable(group: Path, field: str) -> int:
    """File cache that the kernel gives back before it kills anybody."""
    for line in (_read(group / "memory.stat") or "").splitlines():
        name, _, value = line.partition(" ")
        if name == field:
            return int(value)
    return 0


def memory_free() -> float:
    """Bytes that may still be used before some group's limit is met; inf without a limit."""
    free = math.inf
    for controller, limit, usage, cache in (
        ("", "memory.max", "memory.current", "inactive_file"),
        ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        for group in _groups(controller):
            most, used = _number(group / limit), _number(group / usage)
            if most is not None and used is not None and most < 2**60:
                free = min(free, most - used + _reclaimable(group, cache))
    return free


def cpu_quota() -> float:
    """CPUs' worth of time that this process's groups may use; inf without a limit."""
    quota = math.inf
    for group in _groups(""):
        words = (_read(group / "cpu.max") or "").split()
        if len(words) == 2 and words[0].isdigit():
            quota = min(quota, int(words[0]) / int(words[1]))
    for group in _groups("cpu"):
        most, period = _number(group / "cpu.cfs_quota_us"), _number(group / "cpu.cfs_period_us")
        if most is not None and period and most > 0:
            quota = min(quota, most / period)
    return quota
