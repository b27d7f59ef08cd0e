"""The format of shared memory: what a release wrote all later ones read or refuse.  (Queues: test_queues.py.)

The golden segments of a version are written once, by make.py, and never again.  A change of the format is a new version
with a new file; a change that breaks these tests and raises no version is a mistake.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ipc
from tests.golden import make
from tests.golden.common import ARRAY, MESSAGES, NAME
from tests.golden.placing import GOLDEN, golden_bytes, pages, placed, same

VERSION, BYTE_ORDER, LAYOUT_HASH, FLAGS, MAGIC = (8, 4), (12, 4), (16, 8), (28, 4), (0, 8)


# --- the golden segment -------------------------------------------------------------------------------------------


@pages
def test_the_golden_segment_opens_and_has_its_messages_types_and_numbers(ipc_dir: Path) -> None:
    golden = placed(ipc_dir, "channel")
    stats = ipc.stats(NAME)
    assert (stats.sent, stats.received, stats.depth) == (len(MESSAGES), 0, len(MESSAGES))
    assert [user.state for user in stats.participants] == ["closed", "untaken"]
    with ipc.Receiver.attach(NAME) as rx:
        numbers = []
        for message, kind in MESSAGES:
            envelope = rx.recv_envelope()
            assert same(envelope.message, message)
            assert envelope.type == kind
            numbers.append(envelope.sequence)
        assert numbers == list(range(numbers[0], numbers[0] + len(MESSAGES)))
        with pytest.raises(ipc.EndOfChannel):
            rx.recv()
    assert not golden.exists()  # as any other, once all was read


@pages
def test_the_golden_segment_can_be_viewed_and_taken_in_a_batch(ipc_dir: Path) -> None:
    golden = placed(ipc_dir, "channel")
    with ipc.Receiver.attach(NAME) as rx:
        for message, _ in MESSAGES[:4]:
            with rx.view() as got:
                seen = bytes(got) if isinstance(message, bytes) else got.copy() if message is ARRAY else got
                assert same(seen, message)
        rest: list[Any] = []
        while len(rest) < len(MESSAGES) - 4:
            rest += rx.recv_many()
        assert all(same(got, message) for got, (message, _) in zip(rest, MESSAGES[4:], strict=True))
    assert not golden.exists()


KEPT = make.ENTRIES  # all of the index
FIRST_KEPT = make.FIRST + make.FILLING + len(make.TOPICS) - KEPT


@pages
def test_the_golden_multicast_opens_and_has_its_messages_topics_and_numbers(ipc_dir: Path) -> None:
    placed(ipc_dir, "multicast")
    stats = ipc.stats(NAME)
    assert isinstance(stats, ipc.MulticastStats)
    assert (stats.sent, stats.oldest, stats.policy) == (
        make.FILLING + len(make.TOPICS),
        FIRST_KEPT - make.FIRST,
        "lossless",
    )
    assert [(user.state, user.alive) for user in stats.participants][:1] == [("closed", False)]
    assert [(one.alive, one.sequence + make.FIRST, one.received) for one in stats.subscribers] == [
        (False, make.FIRST + make.FILLING - 2 + make.READ, make.READ)
    ]
    with ipc.Multicast[Any].attach(NAME) as multicast:
        with multicast.subscribe(start="oldest") as subscriber, multicast.subscribe(make.FIRST + make.FILLING) as late:
            fillings = [subscriber.recv_envelope() for _ in range(KEPT - len(make.TOPICS))]
            assert [one.sequence for one in fillings] == list(range(FIRST_KEPT, make.FIRST + make.FILLING))
            for reader in (subscriber, late):
                for n, (message, topic) in enumerate(make.TOPICS):
                    envelope = reader.recv_envelope()
                    assert same(envelope.message, message)
                    assert (envelope.topic, envelope.sequence, envelope.lost) == (
                        topic,
                        make.FIRST + make.FILLING + n,
                        0,
                    )
                with pytest.raises(ipc.EndOfChannel):
                    reader.recv()
        wanted = multicast.subscribe(start="oldest", topics=["macallums"])  # which has a namesake by number
        assert same(wanted.recv(), make.TOPICS[2][0])
        with multicast.publisher() as publisher:  # goes on where the one of then ended
            assert publisher.publish(b"now", topic="macallums") == make.FIRST + make.FILLING + len(make.TOPICS)
            assert wanted.recv() == b"now"


@pages
@pytest.mark.parametrize("which", GOLDEN)
def test_this_library_writes_the_golden_segments_byte_for_byte(which: str) -> None:
    written, golden = bytearray(make.CONTENTS[which]()), bytearray(golden_bytes(which))
    for data in (written, golden):  # whether membarrier works is the machine's matter
        data[FLAGS[0]] &= ~1
    assert written == golden


SWAPPED = slice(None, None, -1)

REFUSED: dict[str, tuple[tuple[int, int], Callable[[bytes], bytes], type[ipc.IpcError]]] = {
    "version 0": (VERSION, lambda _: bytes(4), ipc.IncompatibleFormatError),
    "the next version": (VERSION, lambda old: bytes([old[0] + 1, *old[1:]]), ipc.IncompatibleFormatError),
    "the last version": (VERSION, lambda _: b"\xff" * 4, ipc.IncompatibleFormatError),
    "a version of the other byte order": (VERSION, lambda old: old[SWAPPED], ipc.IncompatibleFormatError),
    "the other byte order": (BYTE_ORDER, lambda old: old[SWAPPED], ipc.IncompatibleFormatError),
    "a middle-endian byte order": (BYTE_ORDER, lambda old: old[2:] + old[:2], ipc.IncompatibleFormatError),
    "another layout": (LAYOUT_HASH, lambda old: bytes([old[0] ^ 1, *old[1:]]), ipc.IncompatibleFormatError),
    # nothing says that these are segments of any version
    "a later magic": (MAGIC, lambda old: old[:-1] + b"2", ipc.CorruptSegmentError),
    "a magic of the other byte order": (MAGIC, lambda old: old[SWAPPED], ipc.CorruptSegmentError),
    "a magic that was copied as text": (MAGIC, lambda old: b"\r" + old[:-1], ipc.CorruptSegmentError),
}


ATTACH = (end.attach for end in (ipc.Receiver, ipc.Sender, ipc.Ring, ipc.Multicast, ipc.Queue, ipc.ReliableQueue))
LOOKS: tuple[Callable[[str], Any], ...] = (*ATTACH, ipc.stats)


@pytest.mark.parametrize("which", GOLDEN)
@pytest.mark.parametrize("what", REFUSED)
def test_another_format_is_refused_by_whoever_looks_and_left_as_it_is(what: str, which: str, ipc_dir: Path) -> None:
    golden = placed(ipc_dir, which)
    (offset, size), change, expected = REFUSED[what]
    data = bytearray(golden.read_bytes())
    data[offset : offset + size] = change(bytes(data[offset : offset + size]))
    golden.write_bytes(data)
    for look in LOOKS:
        with pytest.raises(expected):
            look(NAME)
    for entry in ipc.ls():  # without its magic it isn't ours to show
        assert entry.stats is None
        assert entry.problem
    assert len(ipc.ls()) == (expected is ipc.IncompatibleFormatError)
    assert golden.read_bytes() == data


@pytest.mark.parametrize("version", [0, 2, 2**32 - 1])
def test_an_orphan_of_another_version_is_collected_all_the_same(version: int, ipc_dir: Path) -> None:
    """Presence is the same byte in every version, so its users, if any, would be seen."""
    golden = placed(ipc_dir, "channel")
    data = bytearray(golden.read_bytes())
    data[8:12] = version.to_bytes(4, "little")
    golden.write_bytes(data)
    assert ipc.gc() == [NAME]
    assert not golden.exists()
