"""A camera with two who look: a recorder that needs every frame, and a viewer that wants the newest and is slow.

    python examples/07_frames_with_a_slow_viewer.py
    python examples/07_frames_with_a_slow_viewer.py --frames 300 --fps 100 --busy 0.2

The camera draws each frame once, straight into the multicast.  The recorder looks at it there (`view`) and is never
overtaken: the camera waits for it.  The viewer is an observer (`observe=True`): nobody waits for it, and when it was
overtaken it goes on at the newest frame (`on_lap="latest"`) and is told exactly how many it has missed.
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
FRAMES_PER_LINE = 30

Frame = np.ndarray[Any, np.dtype[np.uint8]]


def paint(frame: Frame, number: int) -> None:
    """A shade that moves to the right; the first pixel is the frame's number, as cameras burn in their clock."""
    frame[...] = (np.arange(WIDTH) - 8 * number).astype(np.uint8)[:, None]
    frame[0, 0] = list(number.to_bytes(COLOURS, "big"))


def number_of(frame: Frame) -> int:
    return int.from_bytes(frame[0, 0].tobytes(), "big")


def record(frames: ipc.Multicast[Frame], report: ipc.Queue[Any]) -> None:
    """Run in a process of its own: look at every frame where it lies."""
    recorded = 0
    with frames.subscribe() as subscriber, contextlib.suppress(ipc.EndOfChannel):
        report.put("subscribed")
        while True:
            with subscriber.view() as frame:
                assert number_of(frame) == recorded, "a frame is missing"
            if recorded % FRAMES_PER_LINE == 0:
                print(f"frame {recorded} was recorded", flush=True)
            recorded += 1
    report.put(("recorder", recorded, 0, 0))


def watch(frames: ipc.Multicast[Frame], report: ipc.Queue[Any], busy: float) -> None:
    """Run in another: show a frame, be busy with it, show the newest."""
    shown = most = 0
    with frames.subscribe(observe=True, on_lap="latest") as subscriber:
        report.put("subscribed")
        with contextlib.suppress(ipc.EndOfChannel):
            while True:
                frame, sequence, lost, _ = subscriber.recv_envelope()
                assert number_of(frame) == sequence == shown + subscriber.lost, "neither shown nor counted"
                shown, most = shown + 1, max(most, lost)
                time.sleep(busy)  # in place of drawing it
        report.put(("viewer", shown, subscriber.lost, most))


def main(frames: int, fps: float, busy: float) -> None:
    with ipc.Multicast[Frame](capacity="4MiB") as multicast, ipc.Queue[Any]() as report:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the workers inherit this: Ctrl-C is for the camera,
        workers = [ipc.spawn(record, multicast, report), ipc.spawn(watch, multicast, report, busy)]
        asked: list[Any] = []  # which ends after the frame at hand; a second Ctrl-C interrupts whatever goes on
        signal.signal(signal.SIGINT, lambda number, _: asked.append(signal.signal(number, signal.default_int_handler)))
        for _ in workers:
            report.get()  # who comes later gets what is published later
        made, start = 0, time.monotonic()
        with multicast.publisher() as camera:
            while made < frames and not asked:
                time.sleep(max(0.0, start + made / fps - time.monotonic()))
                with camera.claim(SHAPE, "uint8") as frame:
                    paint(frame, made)
                made += 1
        rows = sorted(report.get() for _ in workers)
        for worker in workers:
            worker.join()
    print(f"{made} frames in {time.monotonic() - start:.1f} s\n\n          seen  missed  most at once")
    for name, seen, missed, most in rows:
        print(f"{name:8}{seen:6}{missed:8}{most:14}")
        assert seen + missed == made


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=90)
    parser.add_argument("--fps", type=float, default=60, help="frames per second")
    parser.add_argument("--busy", type=float, default=0.15, help="seconds that the viewer needs for a frame")
    main(**vars(parser.parse_args()))
