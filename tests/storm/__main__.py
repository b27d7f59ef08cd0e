"""`python -m tests.storm --kills 500`: the kill storm, and its figures; `--of queues`: that of queues."""

from __future__ import annotations

import argparse
import os

from tests.storm.storm import CHANNELS, HASTE, LEISURE, OF_A_MULTICAST, QUEUES, storm

KINDS = {
    "channels": CHANNELS,
    "queues": QUEUES,
    "multicasts": OF_A_MULTICAST,
    "all": CHANNELS + QUEUES + OF_A_MULTICAST,
}


def main() -> None:
    """Run it; any failure is an exception."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=500, help="at least so many")
    parser.add_argument("--of", choices=KINDS, default="channels", help="which structures")
    parser.add_argument("--only", default="", help="part of the name of a structure")
    parser.add_argument("--minutes", type=float, default=0.0, help="and at least so long")
    parser.add_argument("--leisurely", action="store_true", help="fewer calls, for long pauses")
    parser.add_argument("--per-round", type=int, default=25, help="kills on one structure")
    parser.add_argument("--pause", type=float, default=0.04, help="seconds between kills, at most")
    options = parser.parse_args()
    figures = storm(
        f"storm-{os.getpid()}",
        kinds=[kind for kind in KINDS[options.of] if options.only in kind],
        kills=options.kills,
        seconds=60 * options.minutes,
        per_round=options.per_round,
        pause=options.pause,
        paces=LEISURE if options.leisurely else HASTE,
    )
    print("\n".join(figures.check()))


if __name__ == "__main__":
    main()
