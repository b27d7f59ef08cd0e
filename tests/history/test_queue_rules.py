"""What exactly the rules of queues allow and forbid: small histories, written down.

Where a killed consumer's message comes back, what a lease that ran out excuses, and what may pass what was given back.
"""

from __future__ import annotations

from dataclasses import replace

from tests.history.checker import check
from tests.history.operations import FOREVER, Death, History, Item, Op, Operation, Result
from tests.history.rules import QUEUE, RELIABLE, Fault, Report, Rules

PRODUCER, FIRST, SECOND, THIRD = 1, 2, 3, 4
AT_MOST_ONCE = replace(QUEUE, returns=True)
LEASED = replace(RELIABLE, lease_ns=20)


def call(op: Op, by: int, at: int, *items: Item, until: int | None = None, result: Result = Result.OK) -> Operation:
    """It took 5 from `at`, if nothing else is said."""
    returned = FOREVER if result == Result.OPEN else at + 5 if until is None else until
    return Operation(by, op, at, returned, result, list(items), done=len(items) if op == Op.SEND else 0)


def put(at: int, value: int) -> Operation:
    return call(Op.SEND, PRODUCER, at, Item(value, 8))


def get(by: int, at: int, *values: int, result: Result = Result.OK, until: int | None = None) -> Operation:
    return call(Op.RECV, by, at, *(Item(value, 8) for value in values), result=result, until=until)


def lease(by: int, at: int, value: int, number: int, until: int | None = None) -> Operation:
    return call(Op.LEASE, by, at, Item(value, 8, deliveries=number), until=until)


def end(op: Op, by: int, at: int, value: int, number: int, result: Result = Result.OK) -> Operation:
    return call(op, by, at, Item(value, 8, deliveries=number), result=result)


def judged(rules: Rules, *calls: Operation, dead: tuple[int, ...] = ()) -> Report:
    """Those who died, died from 95 to 100."""
    history = History(deaths={process: Death(95, 100) for process in dead})
    history.add(calls)
    return check(history, rules)


TWO = (put(0, 1), put(10, 2))


def test_what_a_killed_consumer_had_in_its_hands_comes_behind_newer_ones() -> None:
    killed = get(FIRST, 20, result=Result.OPEN)
    late = (*TWO, killed, get(SECOND, 30, 2), get(SECOND, 110, 1))
    assert judged(AT_MOST_ONCE, *late, dead=(FIRST,)).accepted
    assert judged(QUEUE, *late, dead=(FIRST,)).faults == {Fault.REORDERED}  # of what gives nothing back
    between_two = (*TWO, killed, get(SECOND, 30, 2), get(THIRD, 110, 1))
    assert judged(AT_MOST_ONCE, *between_two, dead=(FIRST,)).accepted
    assert judged(QUEUE, *between_two, dead=(FIRST,)).faults == {Fault.REORDERED}


def test_a_consumer_excuses_no_disorder_before_it_died_or_before_it_asked() -> None:
    too_early = (*TWO, get(FIRST, 20, result=Result.OPEN), get(SECOND, 30, 2), get(SECOND, 40, 1))
    assert judged(AT_MOST_ONCE, *too_early, dead=(FIRST,)).faults == {Fault.REORDERED}
    asked_later = (*TWO, get(FIRST, 60, result=Result.OPEN), get(SECOND, 30, 2), get(SECOND, 110, 1))
    assert judged(AT_MOST_ONCE, *asked_later, dead=(FIRST,)).faults == {Fault.REORDERED}


def test_a_queue_whose_last_message_is_in_a_dying_consumer_s_hands_is_empty() -> None:
    told_empty = get(SECOND, 50, result=Result.EMPTY)
    held = (put(0, 1), get(FIRST, 20, result=Result.OPEN), told_empty, get(SECOND, 110, 1))
    assert judged(AT_MOST_ONCE, *held, dead=(FIRST,)).accepted
    assert judged(QUEUE, *held, dead=(FIRST,)).faults == {Fault.FALSE_EMPTY}
    nobody_has_it = (put(0, 1), get(FIRST, 60, result=Result.OPEN), told_empty, get(SECOND, 110, 1))
    assert judged(AT_MOST_ONCE, *nobody_has_it, dead=(FIRST,)).faults == {Fault.FALSE_EMPTY}


def test_what_was_given_back_comes_before_newer_ones() -> None:
    given_back = (*TWO, lease(FIRST, 20, 1, 1), end(Op.NACK, FIRST, 30, 1, 1))
    ends = (end(Op.ACK, SECOND, 80, 1, 2), end(Op.ACK, SECOND, 90, 2, 1))
    assert judged(RELIABLE, *given_back, lease(SECOND, 40, 1, 2), lease(SECOND, 50, 2, 1), *ends).accepted
    passed = (*given_back, lease(SECOND, 40, 2, 1), lease(SECOND, 50, 1, 2), *ends)
    assert judged(RELIABLE, *passed).faults == {Fault.REORDERED}
    assert judged(replace(RELIABLE, delay_ns=20), *passed).accepted  # it may have been kept back
    assert judged(replace(RELIABLE, order="none"), *passed).accepted


def test_a_newer_one_that_was_asked_for_before_the_older_came_back_may_come_first() -> None:
    calls = (
        *TWO,
        lease(FIRST, 20, 1, 1),
        end(Op.NACK, FIRST, 30, 1, 1),
        lease(SECOND, 33, 2, 1),
        lease(FIRST, 50, 1, 2),
    )
    assert judged(RELIABLE, *calls, end(Op.ACK, FIRST, 60, 1, 2), end(Op.ACK, SECOND, 60, 2, 1)).accepted


def test_a_number_that_nobody_told_was_the_dead_s_or_of_one_who_was_held_up_beyond_its_lease() -> None:
    second_only = (put(0, 1), lease(SECOND, 110, 1, 2), end(Op.ACK, SECOND, 120, 1, 2))
    assert judged(LEASED, *second_only).faults == {Fault.WRONG_COUNT}
    assert judged(LEASED, call(Op.LEASE, FIRST, 50, result=Result.OPEN), *second_only, dead=(FIRST,)).accepted
    asked = call(Op.LEASE, FIRST, 50, until=60, result=Result.EMPTY)
    assert Fault.WRONG_COUNT in judged(LEASED, asked, *second_only).faults
    held_up = call(Op.LEASE, FIRST, 50, until=75, result=Result.HELD_BACK)
    assert judged(LEASED, held_up, *second_only).accepted
    assert judged(replace(LEASED, lease_ns=None), held_up, *second_only).faults == {Fault.WRONG_COUNT}
