"""In-situ analysis: a solver lends every field that it computes to another process, which reads it where it lies.

    python examples/03_zero_copy_frames.py --out pictures
    python examples/03_zero_copy_frames.py --size 512 --steps 5000 --every 1000

The solver spreads the heat of three hot spots over an insulated plate and writes each field into memory of the channel
itself; the analysis looks at that same memory.  It checks at every step that no heat is lost or made (the drift); each
k-th step it says what it sees and, with --out, draws it (by matplotlib if that is installed, else as a gray PGM).  A
solver that is ahead waits for room.  After Ctrl-C, what was sent is analysed and said.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np

import ipc

COLD, HOT = 20.0, 100.0  # degrees
EXCHANGE = 0.2  # diffusivity * dt / dx**2; explicit steps in two dimensions are stable up to 0.25

Field = np.ndarray[Any, np.dtype[np.float64]]


def advance(plate: Field) -> None:
    """One step of explicit finite differences: what leaves a cell enters its neighbour, nothing crosses the rim."""
    down, right = EXCHANGE * np.diff(plate, axis=0), EXCHANGE * np.diff(plate, axis=1)
    plate[:-1] += down
    plate[1:] -= down
    plate[:, :-1] += right
    plate[:, 1:] -= right


def analyse(fields: ipc.Receiver[Field], findings: ipc.Sender[Any], every: int, out: Path | None) -> None:
    """Run in a process of its own until the solver closes.  No field is ever lost, so the n-th is that of step n."""
    began, step, first, drift = time.perf_counter(), 0, 0.0, 0.0
    with fields, findings:
        with contextlib.suppress(ipc.EndOfChannel):
            while True:
                with fields.view() as field:  # its space goes back at the end of the block: copy what you keep
                    low, mean, high = float(field.min()), float(field.mean()), float(field.max())
                    kept = field.copy() if step % every == 0 else None
                first = first or mean  # the plate stays the same, so the mean tells the heat
                drift = max(abs(mean / first - 1), drift)  # in this order a NaN stays, too
                if kept is not None:
                    seen, seconds = f"{low:.3f} min, {mean:.3f} mean, {high:.3f} max", time.perf_counter() - began
                    print(f"step {step}: {seen}, drift {drift:.0e}, {(step + 1) / seconds:,.0f} fields/s", flush=True)
                    if out is not None:
                        draw(kept, step, out / f"step_{step:06}")
                step += 1
        findings.send((step, drift))


def draw(field: Field, step: int, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        from matplotlib.figure import Figure  # without pyplot there is no window: savefig draws by Agg
    except ImportError:
        gray = ((field - COLD) / (HOT - COLD) * 255).clip(0, 255).astype(np.uint8)
        path.with_suffix(".pgm").write_bytes(b"P5 %d %d 255\n" % gray.shape[::-1] + gray.tobytes())
    else:
        axes = (figure := Figure()).subplots()
        figure.colorbar(axes.imshow(field, "inferno", vmin=COLD, vmax=HOT), label=f"degrees after {step} steps")
        figure.savefig(path.with_suffix(".png"))


def main(size: int, steps: int, every: int, out: Path | None) -> None:
    plate, width = np.full((size, size), COLD), size // 8 + 1
    for row, column in ((size // 5, size // 5), (size // 2, 2 * size // 3), (2 * size // 3, size // 3)):
        plate[row : row + width, column : column + width] = HOT
    fields_tx, fields_rx = ipc.channel(capacity=4 * plate.nbytes)
    findings_tx, findings_rx = ipc.channel()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the worker inherits this: Ctrl-C is for the solver,
    worker = ipc.spawn(analyse, fields_rx, findings_tx, every, out)
    asked: list[Any] = []  # which ends after the step at hand; a second Ctrl-C interrupts whatever goes on
    signal.signal(signal.SIGINT, lambda number, _: asked.append(signal.signal(number, signal.default_int_handler)))
    with worker, findings_rx, fields_tx:
        while not asked and fields_tx.stats().sent <= steps:
            with fields_tx.claim(plate.shape, plate.dtype) as field:  # waits while the analysis is far behind
                field[...] = plate
            advance(plate)
        stats = fields_tx.stats()
        fields_tx.close()
        analysed, drift = findings_rx.recv()
    print(f"{analysed:,} of {stats.sent:,} fields analysed in place, {stats.bytes / 1e6:,.1f} MB; drift {drift:.0e}")
    assert drift < 1e-10, "heat was not conserved"  # rounding alone stays far below


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option, default in (("--size", 256), ("--steps", 1000), ("--every", 200)):
        parser.add_argument(option, type=int, default=default)
    parser.add_argument("--out", type=Path, help="directory for the pictures")
    main(**vars(parser.parse_args()))
