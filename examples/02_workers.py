"""A pool of worker processes: each gets its work over one channel and answers over another.

    python examples/02_workers.py [number of workers]

The work is counting primes.  The parent sends intervals to whoever is next, closes the channels, and adds up what comes
back; there are 78,498 primes below a million, and the example checks that.
"""

from __future__ import annotations

import sys

import ipc

LIMIT = 1_000_000
STEP = 20_000
PRIMES_BELOW_LIMIT = 78_498

Interval = tuple[int, int]


def count_primes(start: int, stop: int) -> int:
    """Count the primes in range(start, stop) with a sieve."""
    is_prime = bytearray([1]) * (stop - start)
    for divisor in range(2, int(stop**0.5) + 1):
        first = max(divisor * divisor, -(-start // divisor) * divisor)
        is_prime[first - start :: divisor] = bytes(len(range(first, stop, divisor)))
    return sum(is_prime) - sum(1 for number in (0, 1) if start <= number < stop)


def serve(intervals: ipc.Receiver[Interval], counts: ipc.Sender[int]) -> None:
    """Run in each worker process: iterating ends when the parent closes its end."""
    with intervals, counts:
        for start, stop in intervals:
            counts.send(count_primes(start, stop))


def main(pool_size: int) -> None:
    workers, outboxes, inboxes = [], [], []
    for _ in range(pool_size):
        intervals_tx, intervals_rx = ipc.channel()
        counts_tx, counts_rx = ipc.channel()
        workers.append(ipc.spawn(serve, intervals_rx, counts_tx))  # the worker's ends are its own from here on
        outboxes.append(intervals_tx)
        inboxes.append(counts_rx)

    for number, start in enumerate(range(0, LIMIT, STEP)):
        outboxes[number % pool_size].send((start, start + STEP))
    for outbox in outboxes:
        outbox.close()  # "no more work": each worker finishes what it has

    found = [sum(inbox) for inbox in inboxes]  # a receiver can be iterated until its sender is done
    for worker, inbox, share in zip(workers, inboxes, found, strict=True):
        inbox.close()
        worker.join()
        print(f"worker {worker.pid} found {share:,} primes and left with exit code {worker.exitcode}")

    assert sum(found) == PRIMES_BELOW_LIMIT, found
    print(f"{sum(found):,} primes below {LIMIT:,}")


if __name__ == "__main__":  # children that are spawned import this file: only the parent runs main()
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
