"""The same work three times: in one process, over a reliable queue, over `multiprocessing.Queue`; checked and timed."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass

from ipc.demo import over_queue, over_reliable
from ipc.demo.sources import Sources
from ipc.demo.tally import Tally, differences, merge, tally_file
from ipc.demo.worker import Outcome

__all__ = ["AGAIN_MEANS", "SECONDS_MEAN", "TRANSPORT_MEANS", "Comparison", "Run", "compare", "usable_cpus"]

SECONDS_MEAN = (
    "Seconds: from the moment when every worker process is started and ready until the last result is back; "
    "the files were read before."
)
TRANSPORT_MEANS = (
    "Transport: the part of the workers' time, each from its first file received to its last result sent, that was "
    "not spent tokenising, that is, inside receive and send calls, waiting included "
    "(the feeder threads of multiprocessing.Queue run beside the tokenising and are not counted)."
)

AGAIN_MEANS = (
    "Killed, again: workers ended by SIGKILL in the middle of their work, and files that went to others in their place."
)

OnResult = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Run:
    """One way to do the work, and what came of it."""

    name: str
    processes: int
    seconds: float
    messages: int
    transport_share: float | None
    """None without a transport."""
    tally: Tally
    differences: list[str]
    """Where the result is not that of one process, in sentences."""
    killed: int = 0
    """Workers that were killed on the way."""
    redelivered: int = 0
    """Files that were delivered again."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """All runs over one tree; the first is the one-process run that the others are checked against."""

    sources: Sources
    runs: list[Run]

    @property
    def tally(self) -> Tally:
        return self.runs[0].tally

    @property
    def agree(self) -> bool:
        return not any(run.differences for run in self.runs)

    @property
    def failed(self) -> dict[str, str]:
        """Files that couldn't be read or tokenised, with the reason."""
        return dict(sorted((self.sources.unreadable | self.tally.errors).items()))

    def as_json(self) -> dict[str, object]:
        return {
            "ok": self.agree,
            "source": str(self.sources.root),
            "python": platform.python_version(),
            "cpus": usable_cpus(),
            "start_method": "spawn",
            "files": len(self.sources.paths),
            "bytes": self.sources.size_bytes,
            "tokens": self.tally.counts.total(),
            "token_types": dict(self.tally.counts.most_common()),
            "longest_identifiers": self.tally.longest,
            "failed": self.failed,
            "runs": [
                {
                    "name": run.name,
                    "processes": run.processes,
                    "seconds": run.seconds,
                    "messages": run.messages,
                    "transport_share": run.transport_share,
                    "killed": run.killed,
                    "redelivered": run.redelivered,
                    "differences": run.differences,
                }
                for run in self.runs
            ],
            "seconds_mean": SECONDS_MEAN,
            "transport_means": TRANSPORT_MEANS,
        }


def usable_cpus() -> int:
    """Return how many CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def compare(sources: Sources, workers: int, stage: Callable[[str], OnResult], kills: int = 0) -> Comparison:
    """Do the work three ways.

    Args:
      workers: number of worker processes, for each transport.
      kills: workers of the run over this package that are killed in the middle of their work.
      stage: called with the name of a run before it begins; what it returns is called for each file done, also from
        other threads.

    Raises:
      WorkerFailedError: a worker couldn't be started, or ended too early.
    """
    first = _in_one_process(sources, stage("one process"))
    runs = [first]
    outcome = over_reliable.run(sources.contents, workers, stage("ipc"), kills)
    runs.append(_checked("ipc", workers, sources, outcome, first.tally))
    name = "multiprocessing.Queue"
    outcome = over_queue.run(sources.contents, workers, stage(name))
    runs.append(_checked(name, workers, sources, outcome, first.tally))
    return Comparison(sources, runs)


def _in_one_process(sources: Sources, on_result: OnResult) -> Run:
    began = time.perf_counter()
    results = []
    for index, content in enumerate(sources.contents):
        results.append(tally_file(index, content))
        on_result()
    seconds = time.perf_counter() - began
    return Run("one process", 1, seconds, 0, None, merge(sources.paths, results), [])


def _checked(name: str, workers: int, sources: Sources, outcome: Outcome, expected: Tally) -> Run:
    found = merge(sources.paths, outcome.results)
    return Run(
        name,
        workers,
        outcome.seconds,
        outcome.messages,
        outcome.transport_share,
        found,
        differences(expected, found),
        outcome.killed,
        outcome.redelivered,
    )
