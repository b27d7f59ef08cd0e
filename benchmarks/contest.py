"""Repetitions in turn: A once, B once, C once, A again, ...  The machine drifts; only neighbours can be compared."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from . import peers as peer_files
from .figures import Summary, summary
from .options import Settings
from .plan import Case, Plan, question
from .processes import import_path

__all__ = ["Contestant", "Field", "Kind", "Row", "Sample", "interleave", "peers", "run_command"]

Kind = Literal["ours", "peer", "floor"]


@dataclass(frozen=True)
class Sample:
    """One repetition."""

    count: int
    seconds: float
    metrics: dict[str, float]
    facts: dict[str, Any]


@dataclass(frozen=True)
class Contestant:
    """Somebody who can be measured, any number of times."""

    key: str
    name: str
    kind: Kind
    case: str
    version: str | None
    measure: Callable[[], Sample]


@dataclass
class Field:
    """Who takes part, and who does not and why."""

    contestants: list[Contestant] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)

    def skip(self, key: str, case: str, reason: str) -> None:
        self.skipped.append({"peer": key, "case": case, "reason": reason})


@dataclass
class Row:
    """What came out for one contestant."""

    contestant: Contestant
    samples: list[Sample] = field(default_factory=list)
    error: str | None = None

    def values(self, metric: str) -> list[float]:
        return [sample.metrics[metric] for sample in self.samples]

    def summaries(self) -> dict[str, Summary]:
        metrics = self.samples[0].metrics if self.samples else {}
        return {metric: summary(self.values(metric)) for metric in metrics}

    def to_json(self) -> dict[str, Any]:
        who = self.contestant
        return {
            "peer": who.key,
            "name": who.name,
            "kind": who.kind,
            "case": who.case,
            "version": who.version,
            "error": self.error,
            "counts": [sample.count for sample in self.samples],
            "seconds": [sample.seconds for sample in self.samples],
            "facts": self.samples[0].facts if self.samples else {},
            "metrics": self.summaries(),
        }


def interleave(question_name: str, contestants: Sequence[Contestant], reps: int) -> list[Row]:
    """Measure everybody once, then everybody again.  Who fails is left out of the rest."""
    rows = [Row(contestant) for contestant in contestants]
    for rep in range(1, reps + 1):
        for row in rows:
            who = row.contestant
            if row.error is not None:
                continue
            print(f"{question_name}, {who.case}, repetition {rep} of {reps}: {who.name}", file=sys.stderr, flush=True)
            try:
                row.samples.append(who.measure())
            except (OSError, RuntimeError, subprocess.SubprocessError) as error:
                row.error = str(error)
                print(f"{who.name} failed: {error}", file=sys.stderr, flush=True)
    return rows


def peers(question_name: str, case: Case, settings: Settings) -> Field:
    """The peers that can answer this question in this case."""
    found = Field()
    ours = getattr(question(question_name), "OURS", peer_files.OURS)
    for key in settings.peers or peer_files.names():
        if key in peer_files.ALL_OURS and key != ours:
            continue  # has its own questions
        peer = peer_files.load(key)
        multicast = getattr(peer, "MULTICAST", False)
        if multicast != getattr(question(question_name), "MULTICAST", False):
            if key in settings.peers:  # else it is nothing to speak of
                asked = "one sender and all receivers" if multicast else "one receiver of each message"
                found.skip(key, case.label, f"is for {asked}")
            continue
        reason = peer.available() or _misfit(peer, question_name, case)
        if reason is not None:
            found.skip(key, case.label, reason)
            continue
        plan = Plan(question_name, key, case, settings.count, settings.seconds, tuple(settings.cpus), settings.timeout)
        kind: Kind = "ours" if key == ours else "peer"
        version = peer_files.version(peer)
        found.contestants.append(Contestant(key, peer.NAME, kind, case.label, version, _measurer(plan)))
    return found


def _misfit(peer: peer_files.Peer, question_name: str, case: Case) -> str | None:
    if case.wait not in peer.WAITS:
        return f"has no {case.wait} way of waiting"
    if "in-place" in case.way.split() and not getattr(peer, "LENDS", False):
        return "has no memory to lend to who publishes"
    users = Counter(wire for role in question(question_name).roles(case) for wire in role.wires)
    several = max(users.values()) > 1 or getattr(question(question_name), "SHARED_ONLY", False)
    if several and not peer.SHARED:
        return "is for one sender and one receiver"
    return None


def _measurer(plan: Plan) -> Callable[[], Sample]:
    def measured() -> Sample:
        with tempfile.TemporaryDirectory(prefix="ipc-bench-") as directory:
            asked, answer = Path(directory) / "plan.json", Path(directory) / "result.json"
            asked.write_text(json.dumps(plan.to_json()), encoding="utf-8")
            command = [sys.executable, "-m", f"{__package__}.measure", str(asked), str(answer)]
            run_command(command, timeout=plan.timeout + 30, env={**os.environ, "PYTHONPATH": import_path()})
            return Sample(**json.loads(answer.read_text(encoding="utf-8")))

    return measured


def run_command(command: Sequence[str], timeout: float, env: dict[str, str] | None = None) -> str:
    """Run a program in a session of its own, so that nothing it starts can outlive it.  Returns its output."""
    process = subprocess.Popen(
        command, env=env, start_new_session=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        output, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"timed out after {timeout:.0f} seconds") from None
    finally:
        if process.poll() is None:
            _end(process)
    if process.returncode != 0:
        raise RuntimeError(f"exit code {process.returncode}\n{errors.strip()}")
    return output


def _end(process: subprocess.Popen[str]) -> None:
    """Ask, so that it ends what it has started; then make sure."""
    process.terminate()
    try:
        process.communicate(timeout=5)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
