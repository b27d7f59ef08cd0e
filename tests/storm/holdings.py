"""What a process that survives the storm holds: resident memory, descriptors, mappings; and whether that grows."""

from __future__ import annotations

import gc
from statistics import median
from typing import Final, NamedTuple

import psutil

__all__ = ["Holdings", "check_flat", "check_resident", "holdings_of", "resident", "slope"]

# What an allocator may still take once it is warm; descriptors are counted exactly.  AddressSanitizer keeps what was
# freed for a while: don't run this under it.
RSS_NOISE: Final = 4 * 2**20
MAPS_NOISE: Final = 3


class Holdings(NamedTuple):
    """At one moment between two rounds."""

    rss: int
    descriptors: int
    maps: int


def holdings_of(pid: int | None = None) -> Holdings:
    """Of this process, or of another one."""
    gc.collect()
    process = psutil.Process(pid)
    with process.oneshot():
        maps = process.memory_maps(grouped=False)
        return Holdings(process.memory_info().rss, process.num_fds(), len(maps))


def slope(values: list[int]) -> float:
    """Growth from one sample to the next, by least squares."""
    count = len(values)
    if count < 2:
        return 0.0
    middle, mean = (count - 1) / 2, sum(values) / count
    return sum((i - middle) * (value - mean) for i, value in enumerate(values)) / sum(
        (i - middle) ** 2 for i in range(count)
    )


def check_flat(who: str, samples: list[Holdings]) -> str:
    """After a quarter to warm up nothing grows; returns the figures."""
    warm = samples[len(samples) // 4 + 1 :]
    if len(warm) < 4:
        return f"{who}: too few rounds to tell whether it grows: {samples}"
    rss, descriptors, maps = ([sample[i] for sample in warm] for i in range(3))
    growth = slope(rss) * (len(rss) - 1)
    text = (
        f"{who}: {len(warm)} samples; RSS {median(rss) / 2**20:.1f} MiB, growing by {growth / 2**10:+.0f} KiB in all; "
        f"descriptors {min(descriptors)} to {max(descriptors)}; maps {min(maps)} to {max(maps)}"
    )
    assert max(descriptors) == min(descriptors), text
    assert max(maps) - min(maps) <= MAPS_NOISE, text
    assert growth <= RSS_NOISE, text
    return text


def resident(pid: int) -> int:
    """Bytes of memory of a process that may be at work; not of segments, which differ; they count when it rests."""
    memory = psutil.Process(pid).memory_info()
    return int(memory.rss - memory.shared)


def check_resident(who: str, samples: list[int]) -> str:
    """The same for what was sampled while it worked."""
    warm = samples[len(samples) // 4 :]
    growth = slope(warm) * (len(warm) - 1)
    text = f"{who}, at work: {len(warm)} samples, RSS growing by {growth / 2**10:+.0f} KiB in all"
    assert growth <= RSS_NOISE, text
    return text
