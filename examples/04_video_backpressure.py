"""Video to a consumer that is too slow for it: hold the source back, or drop frames, and know which.

    python examples/04_video_backpressure.py             nothing is lost: the source waits for the consumer
    python examples/04_video_backpressure.py --drop      the source keeps its rhythm: what finds no room is dropped

Frames are drawn straight into the channel, which holds four of them; `type=` says whether one is a key frame or builds
upon the one before.  With --drop only the latter go overboard: nothing can be shown without the former.  The sequence
of the channel has no gaps either way, as what was dropped never was in it; so each frame carries its own number, the
consumer says which came, and those that came and those that were dropped are all.  After Ctrl-C they are as well.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import time
from typing import Any

import numpy as np

import ipc

SHAPE = HEIGHT, WIDTH, COLOURS = 480, 640, 3
DELTA, KEY = 0, 1
FRAMES_PER_KEY = 10

Frame = np.ndarray[Any, np.dtype[np.uint8]]


def paint(frame: Frame, number: int) -> None:
    """A shade that moves to the right; the first pixel is the frame's number, as cameras burn in their clock."""
    frame[...] = (np.arange(WIDTH) - 8 * number).astype(np.uint8)[:, None]
    frame[0, 0] = list(number.to_bytes(COLOURS, "big"))


def watch(frames: ipc.Receiver[Frame], report: ipc.Sender[Any], seconds: float) -> None:
    """Run in a process of its own: take a frame, be busy with it, take the next, until the source closes."""
    seen: list[int] = []
    kinds = [0, 0]
    with frames, report:
        with contextlib.suppress(ipc.EndOfChannel):
            while True:
                frame, kind, sequence = frames.recv_envelope()
                assert sequence == len(seen), "a gap in the channel"
                seen.append(int.from_bytes(frame[0, 0].tobytes(), "big"))
                kinds[kind] += 1
                if kind == KEY:
                    print(f"key frame {seen[-1]}: {seen[-1] + 1 - len(seen)} dropped so far", flush=True)
                time.sleep(seconds)  # in place of a detector, an encoder, a robot
        report.send((seen, kinds))


def main(frames: int, fps: float, busy: float, drop: bool) -> None:
    frames_tx, frames_rx = ipc.channel(capacity="4MiB")
    report_tx, report_rx = ipc.channel()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the worker inherits this: Ctrl-C is for the source,
    worker = ipc.spawn(watch, frames_rx, report_tx, busy)
    asked: list[Any] = []  # which ends after the frame at hand; a second Ctrl-C interrupts whatever goes on
    signal.signal(signal.SIGINT, lambda number, _: asked.append(signal.signal(number, signal.default_int_handler)))
    made, dropped = 0, []
    with worker, report_rx, frames_tx:
        start = time.monotonic()
        while made < frames and not asked:
            time.sleep(max(0.0, start + made / fps - time.monotonic()))
            kind = DELTA if made % FRAMES_PER_KEY else KEY
            try:
                with frames_tx.claim(SHAPE, "uint8", type=kind, timeout=0 if drop and kind == DELTA else None) as frame:
                    paint(frame, made)
            except ipc.TimeoutError:
                dropped.append(made)
            made += 1
        waited = frames_tx.stats().sender_blocked_seconds
        frames_tx.flush()  # until the last one is taken
        stats = frames_tx.stats()
        frames_tx.close()
        seen, (deltas, keys) = report_rx.recv()
    assert stats.sent == stats.received == len(seen)
    assert sorted(seen + dropped) == list(range(made)), "a frame is neither here nor there"
    print(
        f"{made} frames made = {len(seen)} taken ({keys} key, {deltas} delta) + {len(dropped)} dropped; the source was "
        f"held back for {waited:.1f} s, with at most {stats.high_water / 1e6:.1f} MB on the way"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--fps", type=float, default=60, help="frames per second, if the consumer keeps up")
    parser.add_argument("--busy", type=float, default=0.03, help="seconds that the consumer needs for a frame")
    parser.add_argument("--drop", action="store_true", help="drop frames instead of waiting")
    main(**vars(parser.parse_args()))
