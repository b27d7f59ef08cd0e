"""What several modules begin with: both ends of a channel, a multicast."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import ipc

PAGE = 4096

Ends = tuple[ipc.Sender[Any], ipc.Receiver[Any]]


@pytest.fixture
def ends() -> Iterator[Ends]:
    tx, rx = ipc.channel(capacity=PAGE, spin=0)
    with tx, rx:
        yield tx, rx


@pytest.fixture
def roomy() -> Iterator[Ends]:
    tx, rx = ipc.channel(capacity="1MiB", spin=0)
    with tx, rx:
        yield tx, rx


@pytest.fixture
def lossless() -> Iterator[ipc.Multicast[Any]]:
    with ipc.Multicast[Any](capacity=PAGE) as multicast:
        yield multicast


@pytest.fixture
def lossy() -> Iterator[ipc.Multicast[Any]]:
    with ipc.Multicast[Any](policy="lossy", capacity=PAGE) as multicast:
        yield multicast
