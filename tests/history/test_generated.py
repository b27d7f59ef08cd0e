"""The checker is tested like the structures are: by many seeded histories, good ones and bad ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.history.generated import KINDS, MULTICASTS, STRUCTURES, good, judge_bad, judge_good
from tests.history.log import Log, read
from tests.history.operations import Item, Op, Operation, Result

HISTORIES = 1000


@pytest.fixture(scope="module")
def numbers() -> range:
    return range(HISTORIES)


def test_a_thousand_good_histories_are_accepted(numbers: range) -> None:
    accepted = dict.fromkeys(STRUCTURES, 0)
    sent = 0
    for number, name, report in judge_good(numbers):
        assert report.accepted, f"history {number} of a {name}: {report}"
        accepted[name] += 1
        sent += report.sent
    print(f"accepted {sum(accepted.values())} good histories, {sent} messages: {accepted}")
    assert min(accepted.values()) == HISTORIES // len(STRUCTURES)


def test_a_thousand_bad_histories_are_refused_for_the_right_reason(numbers: range) -> None:
    refused: dict[str, int] = {}
    for number, name, kind, report in judge_bad(numbers):
        assert KINDS[kind].fault in report.faults, f"history {number} of a {name}, {kind!r}: {report}"
        refused[kind] = refused.get(kind, 0) + 1
    print(f"refused {sum(refused.values())} bad histories: {refused}")
    assert set(refused) == set(KINDS)


@pytest.mark.slow
def test_a_thousand_good_and_a_thousand_bad_histories_of_multicasts_are_judged_rightly(numbers: range) -> None:
    for number, name, report in judge_good(numbers, MULTICASTS):
        assert report.accepted, f"history {number} of a {name}: {report}"
    kinds: set[str] = set()
    for number, name, kind, report in judge_bad(numbers, MULTICASTS):
        assert KINDS[kind].fault in report.faults, f"history {number} of a {name}, {kind!r}: {report}"
        kinds.add(kind)
    print(f"{len(numbers)} good histories of multicasts, and as many bad ones, in {len(kinds)} ways")
    rules = [STRUCTURES[name](0).rules for name in MULTICASTS]
    assert kinds == {kind for kind, spoiler in KINDS.items() if any(map(spoiler.fits, rules))}


def test_good_histories_are_not_all_alike(numbers: range) -> None:
    deaths = excused = again = gaps = 0
    answers: set[str] = set()
    for number, _, report in judge_good(numbers[:300]):
        deaths += len(good(number)[1].history.deaths)
        excused += report.untold
        again += report.again
        gaps += report.gaps
        answers |= report.answers.keys()
    assert min(deaths, excused, again, gaps) > 25
    assert {"FULL", "EMPTY", "PEER_DIED", "ENDED", "KEPT", "REFUSED", "HELD_BACK"} <= answers


@pytest.mark.parametrize("structure", STRUCTURES)
def test_a_history_that_went_through_logs_has_the_same_calls(structure: str, tmp_path: Path) -> None:
    case = STRUCTURES[structure](3)
    for process in {call.process for call in case.history.operations}:
        log = Log(tmp_path / f"{process}.log", process)
        for call in case.history.operations:
            if call.process != process:
                continue
            takes = call.op in {Op.RECV, Op.VIEW, Op.LEASE}
            log.begin(call.op, () if takes else call.items, most=call.most)
            if call.op == Op.VIEW and call.items:
                log.seen(call.items[0])
            if call.result != Result.OPEN:
                log.end(call.result, call.items if takes and call.op != Op.VIEW else (), done=call.done)
        log.close()

    def told(calls: list[Operation]) -> list[tuple[int, Op, Result, list[Item], int, int]]:
        return sorted((c.process, c.op, c.result, c.items, c.done, c.most) for c in calls)

    assert told(read(tmp_path).operations) == told(case.history.operations)
