"""The golden segments as files that can be opened."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ipc._core.native import lib
from tests.golden.common import NAME, from_hex

HERE = Path(__file__).parent
VERSION: int = lib.IPCR_FORMAT_VERSION

GOLDEN = {
    "channel": HERE / f"format_{VERSION}.hex",
    "multicast": HERE / f"multicast_{VERSION}.hex",
    "queue": HERE / f"queue_{VERSION}.hex",
    "reliable_queue": HERE / f"reliable_queue_{VERSION}.hex",
}

pages = pytest.mark.skipif(os.sysconf("SC_PAGESIZE") != 4096, reason="the golden segment's header is a page of 4096")


def golden_bytes(which: str) -> bytes:
    """The segment as it was written."""
    return from_hex(GOLDEN[which].read_text(encoding="ascii"))


def placed(directory: Path, which: str) -> Path:
    """The segment as a file under its name."""
    path = directory / NAME
    path.write_bytes(golden_bytes(which))
    path.chmod(0o600)
    return path


def same(got: Any, sent: Any) -> bool:
    """Whether it is what was sent, also in type and layout."""
    if isinstance(sent, np.ndarray):
        alike = (got.dtype, got.shape, got.flags.f_contiguous) == (sent.dtype, sent.shape, sent.flags.f_contiguous)
        return alike and bool((got == sent).all())
    if isinstance(sent, tuple):  # of pickled buffers, which arrive as what they are: memory
        return [bytes(one) for one in got] == [bytes(one) for one in sent]
    return type(got) is type(sent) and got == sent
