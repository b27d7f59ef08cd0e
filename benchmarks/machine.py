"""Where a measurement was made: which CPUs, pinned how, in what environment."""

from __future__ import annotations

import os
import platform
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

__all__ = ["allowed_cpus", "describe", "load_average", "now", "pick_cpus", "pin", "siblings"]

SYSTEM_CPU = Path("/sys/devices/system/cpu")


def allowed_cpus() -> list[int]:
    """The CPUs that we may run on; empty where the system does not say."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def pick_cpus(count: int = 2) -> tuple[int | None, ...]:
    """CPUs for `count` processes, in turn: different cores near each other, as far as there are any.

    The first is the lowest that we may use; those after it are ordered by being another core rather than another
    thread of one, and by sharing the last cache with the first.
    """
    cpus = allowed_cpus()
    if not cpus:
        return (None,) * count
    chosen = [cpus.pop(0)]
    first = chosen[0]
    while cpus and len(chosen) < count:
        used = {sibling for cpu in chosen for sibling in siblings(cpu)}
        near = _cpu_list(SYSTEM_CPU / f"cpu{first}" / "cache" / "index3" / "shared_cpu_list")
        best = min(cpus, key=lambda cpu: (cpu in used, cpu not in near, cpu))
        cpus.remove(best)
        chosen.append(best)
    return tuple(chosen[number % len(chosen)] for number in range(count))


def pin(cpu: int | None) -> list[int]:
    """Pin this process to one CPU.  Returns where it may run now."""
    if cpu is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {cpu})
    return allowed_cpus()


def siblings(cpu: int) -> set[int]:
    """The hardware threads of a CPU's core, itself included."""
    return _cpu_list(SYSTEM_CPU / f"cpu{cpu}" / "topology" / "thread_siblings_list") | {cpu}


def describe() -> dict[str, Any]:
    """What a reader must know to judge a figure.  Nothing that names the machine or its user."""
    return {
        "cpu_model": _cpu_info("model name"),
        "virtual_machine": "hypervisor" in _cpu_info("flags").split(),
        "architecture": platform.machine(),
        "cpus_allowed": allowed_cpus(),
        "cgroup_cpu_max": _read(Path("/sys/fs/cgroup/cpu.max")),
        "frequency_governor": _read(SYSTEM_CPU / "cpu0" / "cpufreq" / "scaling_governor"),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "python_gil": getattr(sys, "_is_gil_enabled", lambda: True)(),
    }


def now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def load_average() -> float:
    """Of the last minute: who else was at work."""
    return round(os.getloadavg()[0], 2)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _cpu_info(field: str) -> str:
    for line in _read(Path("/proc/cpuinfo")).splitlines():
        name, _, value = line.partition(":")
        if name.strip() == field:
            return value.strip()
    return ""


def _cpu_list(path: Path) -> set[int]:
    """`0-3,8` as numbers."""
    numbers: set[int] = set()
    for part in filter(None, _read(path).split(",")):
        low, _, high = part.partition("-")
        numbers.update(range(int(low), int(high or low) + 1))
    return numbers
