"""What exactly the rules of multicasts allow and forbid: small histories, written down.

Where a reader begins, what it may lose and must be told, which numbers messages have, and what it may hear of its
publisher.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.history.checker import check
from tests.history.operations import FOREVER, Death, History, Item, Op, Operation, Result
from tests.history.rules import LOSSLESS, LOSSY, Fault, Report, Rules

PUBLISHER, SUCCESSOR, READER, OTHER = 1, 2, 3, 4
LATEST, OLDEST = 0, 1
EVICTING = replace(LOSSLESS, least_lag=3)
BOTH = pytest.mark.parametrize("rules", [LOSSLESS, LOSSY], ids=["lossless", "lossy"])


def call(op: Op, by: int, at: int, *items: Item, result: Result = Result.OK, most: int = 1) -> Operation:
    """It took 5 from `at`."""
    returned = FOREVER if result == Result.OPEN else at + 5
    done = len(items) if op == Op.SEND and result == Result.OK else 0
    return Operation(by, op, at, returned, result, list(items), most=most, done=done)


def publish(at: int, *values: int, by: int = PUBLISHER, result: Result = Result.OK) -> Operation:
    return call(Op.SEND, by, at, *(Item(value, 8) for value in values), result=result)


def join(at: int, where: int = LATEST, by: int = READER) -> Operation:
    return call(Op.JOIN, by, at, most=where)


def got(at: int, value: int, gap: int = 0, number: int = -1, by: int = READER) -> Operation:
    return call(Op.RECV, by, at, Item(value, 8, gap=gap, sequence=number))


def batch(at: int, *values: int, gap: int = 0) -> Operation:
    return call(Op.RECV, READER, at, *(Item(v, 8, gap=gap if v == values[0] else 0) for v in values), most=len(values))


def heard(at: int, result: Result, by: int = READER) -> Operation:
    return call(Op.RECV, by, at, result=result)


def judged(rules: Rules, *calls: Operation, dead: tuple[int, ...] = ()) -> Report:
    """Those who died, died from 95 to 100."""
    history = History(deaths={process: Death(95, 100) for process in dead})
    history.add(calls)
    return check(history, rules)


THREE = (join(0), publish(10, 1), publish(20, 2), publish(30, 3))


def test_a_reader_gets_every_message_from_where_it_joined_once_and_in_order() -> None:
    assert judged(LOSSLESS, *THREE, got(40, 1), got(50, 2), got(60, 3)).accepted
    assert judged(LOSSLESS, *THREE, got(40, 1), got(50, 3)).faults == {Fault.LOST}
    assert judged(LOSSLESS, *THREE, got(50, 2), got(60, 3)).faults == {Fault.LOST}
    assert Fault.DUPLICATED in judged(LOSSLESS, *THREE, got(40, 1), got(50, 1), got(60, 2)).faults
    assert Fault.REORDERED in judged(LOSSLESS, *THREE, got(40, 2), got(50, 1), got(60, 3)).faults


@BOTH
def test_what_has_not_come_when_it_hears_that_nothing_is_there_is_lost(rules: Rules) -> None:
    assert judged(rules, *THREE, got(40, 1), got(50, 2), got(60, 3), heard(70, Result.EMPTY)).accepted
    assert judged(rules, *THREE, got(40, 1), got(50, 2), heard(70, Result.EMPTY)).faults == {Fault.FALSE_EMPTY}
    assert judged(rules, *THREE, got(40, 1), got(50, 2)).accepted  # it has not asked for more


def test_a_lossy_reader_is_told_exactly_how_many_it_has_lost() -> None:
    assert judged(LOSSY, *THREE, got(50, 1), got(60, 3, gap=1)).accepted
    for wrong in (0, 2):
        assert judged(LOSSY, *THREE, got(50, 1), got(60, 3, gap=wrong)).faults == {Fault.WRONG_GAP}
    assert judged(LOSSLESS, *THREE, got(50, 1), got(60, 3, gap=1)).faults == {Fault.WRONG_GAP}


def test_of_a_batch_the_sum_of_what_was_lost_is_compared() -> None:
    more = (*THREE, publish(40, 4), publish(50, 5), got(60, 1))
    assert judged(LOSSY, *more, batch(70, 3, 5, gap=2)).accepted
    assert judged(LOSSY, *more, batch(70, 3, 5, gap=1)).faults == {Fault.WRONG_GAP}
    assert judged(LOSSLESS, *more, batch(70, 2, 3, 4, 5)).accepted
    assert judged(LOSSLESS, *more, batch(70, 2, 3, 5)).faults == {Fault.LOST}


@BOTH
def test_numbers_jump_by_what_came_without_one_and_by_what_was_lost(rules: Rules) -> None:
    calls = (*THREE, got(40, 1, number=7), got(50, 2))
    assert judged(rules, *calls, got(60, 3, number=9)).accepted
    assert Fault.WRONG_GAP in judged(rules, *calls, got(60, 3, number=8)).faults
    assert Fault.WRONG_GAP in judged(rules, *calls, got(60, 3, number=10)).faults


@BOTH
def test_a_successor_goes_on_with_the_next_number(rules: Rules) -> None:
    calls = (join(0), publish(10, 1), publish(110, 2, by=SUCCESSOR), got(120, 1, number=4))
    assert judged(rules, *calls, got(130, 2, number=5), dead=(PUBLISHER,)).accepted
    for wrong in (0, 4, 6):
        assert Fault.REORDERED in judged(rules, *calls, got(130, 2, number=wrong), dead=(PUBLISHER,)).faults


@BOTH
def test_what_a_killed_publisher_had_begun_was_published_for_all_or_for_nobody(rules: Rules) -> None:
    calls = (join(0), join(0, by=OTHER), publish(10, 1), publish(90, 2, result=Result.OPEN))
    after = (publish(110, 3, by=SUCCESSOR), got(120, 1), got(120, 1, by=OTHER))
    none = (got(130, 3), got(130, 3, by=OTHER))
    both = (got(130, 2), got(130, 2, by=OTHER), got(140, 3), got(140, 3, by=OTHER))
    one = (got(130, 2), got(140, 3), got(140, 3, by=OTHER))
    assert judged(rules, *calls, *after, *none, dead=(PUBLISHER,)).accepted
    assert judged(rules, *calls, *after, *both, dead=(PUBLISHER,)).accepted
    assert judged(rules, *calls, *after, *one, dead=(PUBLISHER,)).faults & {Fault.LOST, Fault.WRONG_GAP}


def test_a_reader_at_the_latest_begins_behind_what_was_published_before_it_joined() -> None:
    late = (publish(0, 1), join(10), publish(20, 2))
    assert judged(LOSSLESS, *late, got(30, 2)).accepted
    assert Fault.INVENTED in judged(LOSSLESS, *late, got(30, 1), got(40, 2)).faults
    assert judged(LOSSLESS, publish(0, 1), join(3), publish(20, 2), got(30, 1), got(40, 2)).accepted  # meanwhile


def test_a_reader_at_the_oldest_begins_anywhere_before_what_was_published_when_it_had_joined() -> None:
    late = (publish(0, 1), publish(10, 2), join(20, OLDEST), publish(30, 3))
    for first in (1, 2, 3):
        values = range(first, 4)
        assert judged(LOSSLESS, *late, *(got(40 + 10 * value, value) for value in values)).accepted
    assert judged(LOSSLESS, *late, publish(40, 4), got(50, 4)).faults == {Fault.LOST}


@BOTH
def test_a_reader_at_a_number_begins_there_or_is_told_how_many_are_gone(rules: Rules) -> None:
    late = (publish(0, 1), publish(10, 2), join(20, 2 + 5), publish(30, 3))
    assert judged(rules, *late, got(40, 2, number=5), got(50, 3, number=6)).accepted
    assert Fault.WRONG_GAP in judged(rules, *late, got(40, 2, number=6), got(50, 3, number=7)).faults
    gone = judged(rules, *late, got(40, 3, gap=1, number=6))
    assert gone.accepted if rules is LOSSY else Fault.WRONG_GAP in gone.faults


@BOTH
def test_a_death_is_told_from_a_kill_until_there_is_a_successor(rules: Rules) -> None:
    calls = (join(0), publish(10, 1), got(20, 1))
    successor = publish(150, by=SUCCESSOR)  # of nothing: it has the end
    assert judged(rules, *calls, heard(110, Result.PEER_DIED), successor, dead=(PUBLISHER,)).accepted
    assert judged(rules, *calls, heard(110, Result.PEER_DIED), successor).faults == {Fault.FALSE_DEATH}
    early, late = heard(60, Result.PEER_DIED), heard(170, Result.PEER_DIED)
    assert judged(rules, *calls, early, successor, dead=(PUBLISHER,)).faults == {Fault.FALSE_DEATH}
    assert judged(rules, *calls, successor, late, dead=(PUBLISHER,)).faults == {Fault.FALSE_DEATH}


@BOTH
def test_the_end_is_told_from_a_leave_until_there_is_a_successor(rules: Rules) -> None:
    calls = (join(0), publish(10, 1), got(20, 1))
    leave, successor = call(Op.LEAVE, PUBLISHER, 30), publish(50, by=SUCCESSOR)
    assert judged(rules, *calls, leave, heard(40, Result.ENDED), successor).accepted
    assert judged(rules, *calls, heard(40, Result.ENDED)).faults == {Fault.FALSE_END}
    assert judged(rules, *calls, heard(40, Result.ENDED), dead=(PUBLISHER,)).faults == {Fault.FALSE_END}
    assert judged(rules, *calls, leave, successor, heard(60, Result.ENDED)).faults == {Fault.FALSE_END}


def test_only_who_is_far_behind_is_evicted() -> None:
    evicted = heard(70, Result.HELD_BACK)
    assert judged(EVICTING, *THREE, evicted).accepted  # three behind
    assert judged(EVICTING, *THREE, got(40, 1), evicted).accepted  # it may have been so when its call was not yet over
    assert judged(EVICTING, *THREE, got(40, 1), got(50, 2), evicted).faults == {Fault.FALSE_EVICTION}
    assert judged(EVICTING, *THREE, batch(40, 1, 2, 3), evicted).accepted


def test_who_left_or_died_gets_nothing_more_and_nobody_is_told() -> None:
    assert judged(LOSSLESS, *THREE, got(40, 1), call(Op.LEAVE, READER, 50)).accepted
    killed = call(Op.RECV, READER, 90, result=Result.OPEN)
    assert judged(LOSSLESS, *THREE, got(40, 1), killed, dead=(READER,)).accepted
    assert judged(LOSSLESS, *THREE, got(40, 1), killed).faults == {Fault.MALFORMED}


def test_a_view_that_was_given_up_comes_again() -> None:
    kept = replace(call(Op.VIEW, READER, 40, Item(1, 8), result=Result.KEPT), seen=42)
    assert judged(LOSSLESS, *THREE, kept, got(50, 1), got(60, 2)).accepted
    assert judged(LOSSLESS, *THREE, kept, got(50, 2)).faults == {Fault.LOST}
