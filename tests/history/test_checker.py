"""What exactly a death excuses, and what it does not: small histories, written down."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from tests.history.checker import check
from tests.history.log import Log, read
from tests.history.operations import FOREVER, Death, History, Item, Op, Operation, Result
from tests.history.rules import CHANNEL, QUEUE, Fault, Report, Rules
from tests.process.support import Forked, until

SENDER, RECEIVER, SUCCESSOR = 1, 2, 3


def send(at: int, *values: int, result: Result = Result.OK, done: int | None = None) -> Operation:
    """Sending took 5 from `at`."""
    done = (len(values) if result == Result.OK else 0) if done is None else done
    returned = FOREVER if result == Result.OPEN else at + 5
    return Operation(SENDER, Op.SEND, at, returned, result, [Item(value, 8) for value in values], done=done)


def recv(at: int, *values: int, by: int = RECEIVER, result: Result = Result.OK, most: int = 1) -> Operation:
    """So did receiving."""
    returned = FOREVER if result == Result.OPEN else at + 5
    return Operation(by, Op.RECV, at, returned, result, [Item(value, 8) for value in values], most=most)


def view(at: int, *values: int, by: int = RECEIVER, result: Result = Result.OK) -> Operation:
    """And a view, which tells after 2."""
    call = replace(recv(at, *values, by=by, result=result), op=Op.VIEW)
    return replace(call, seen=at + 2) if values else call


def judged(*calls: Operation, dead: tuple[int, ...] = (), rules: Rules = CHANNEL) -> Report:
    """Those who died, died from 95 to 100."""
    history = History(deaths={process: Death(95, 100) for process in dead})
    history.add(calls)
    return check(history, rules)


def test_a_receiver_killed_in_recv_may_have_taken_as_many_as_it_asked_for() -> None:
    sends = [send(0, 1), send(10, 2), send(20, 3), send(30, 4)]
    report = judged(*sends, recv(40, 1), recv(50, result=Result.OPEN, most=2), recv(110, 4, by=SUCCESSOR), dead=(2,))
    assert report.accepted, report
    assert report.untold == 2
    report = judged(*sends, recv(40, 1), recv(50, result=Result.OPEN), recv(110, 4, by=SUCCESSOR), dead=(2,))
    assert report.faults == {Fault.LOST}


def test_what_a_dead_receiver_took_stands_behind_what_it_told() -> None:
    sends = [send(0, 1), send(10, 2), send(20, 3)]
    report = judged(*sends, recv(40, 2), recv(50, result=Result.OPEN), recv(110, 3, by=SUCCESSOR), dead=(2,))
    assert report.faults == {Fault.LOST}
    shared = judged(
        *sends, recv(40, 2), recv(50, result=Result.OPEN), recv(110, 3, by=SUCCESSOR), dead=(2,), rules=QUEUE
    )
    assert shared.accepted, shared  # in a queue it may have been taken by anybody


def test_a_receiver_that_died_before_the_sending_began_has_not_taken_it() -> None:
    calls = [recv(50, result=Result.OPEN), send(110, 1)]
    assert judged(*calls, dead=(2,)).faults == {Fault.LOST}
    assert judged(*calls, dead=(2,), rules=QUEUE).faults == {Fault.LOST}


def test_a_viewer_killed_in_its_view_may_be_followed_by_one_that_sees_the_message_again() -> None:
    seen = [send(0, 1), send(10, 2), view(40, 1, result=Result.OPEN)]
    report = judged(*seen, view(110, 1, by=SUCCESSOR), view(120, 2, by=SUCCESSOR), dead=(2,))
    assert report.accepted, report
    assert report.again == 1
    report = judged(*seen, view(110, 2, by=SUCCESSOR), dead=(2,))
    assert report.accepted, report
    report = judged(*seen, view(110, 1, by=SUCCESSOR), recv(120, 1, by=SUCCESSOR), dead=(2,))
    assert Fault.DUPLICATED in report.faults


def test_a_viewer_killed_before_it_told_has_taken_nothing() -> None:
    report = judged(send(0, 1), view(40, result=Result.OPEN), dead=(2,))
    assert report.faults == {Fault.LOST}


def test_a_view_that_was_given_up_takes_nothing() -> None:
    kept = [send(0, 1), view(40, 1, result=Result.KEPT)]
    assert judged(*kept, recv(50, 1)).accepted
    assert judged(*kept).faults == {Fault.LOST}


def test_a_sender_killed_in_send_has_sent_it_or_not() -> None:
    calls = [send(0, 1), send(10, 2, result=Result.OPEN)]
    assert judged(*calls, recv(40, 1), dead=(1,)).accepted
    report = judged(*calls, recv(40, 1), recv(50, 2), dead=(1,))
    assert report.accepted
    assert report.recovered == 1


def test_of_a_batch_whose_sender_died_the_first_so_many_are_sent() -> None:
    batch = send(0, 1, 2, 3, result=Result.OPEN)
    assert judged(batch, recv(40, 1), recv(50, 2), dead=(1,)).accepted
    assert judged(batch, recv(40, 1), recv(50, 3), dead=(1,)).faults == {Fault.LOST}


def test_of_a_batch_that_failed_exactly_so_many_are_sent_as_it_says() -> None:
    batch = send(0, 1, 2, 3, result=Result.FULL, done=2)
    assert judged(batch, recv(40, 1), recv(50, 2)).accepted
    assert judged(batch, recv(40, 1)).faults == {Fault.LOST}
    assert judged(batch, recv(40, 1), recv(50, 2), recv(60, 3)).faults == {Fault.INVENTED}


def test_an_empty_answer_is_wrong_only_if_something_was_there_at_every_moment_of_the_call() -> None:
    overlapping = recv(8, result=Result.EMPTY)
    assert judged(send(0, 1), replace(overlapping, invoked=5, returned=20), recv(20, 1)).accepted
    assert judged(send(0, 1), overlapping, recv(20, 1)).faults == {Fault.FALSE_EMPTY}
    assert judged(
        send(0, 1), send(6, 2), recv(20, 1), replace(overlapping, invoked=26, returned=27), recv(28, 2)
    ).faults == {Fault.FALSE_EMPTY}


def test_two_messages_that_relieve_each_other_make_an_empty_answer_wrong() -> None:
    taken = [send(0, 1), send(10, 2), recv(20, 1, by=SUCCESSOR), recv(40, 2, by=SUCCESSOR)]
    assert judged(*taken, replace(recv(8, result=Result.EMPTY), returned=30), rules=QUEUE).faults == {Fault.FALSE_EMPTY}
    assert judged(*taken, replace(recv(8, result=Result.EMPTY), returned=50), rules=QUEUE).accepted


def test_a_full_answer_is_wrong_if_there_was_room_at_every_moment_of_the_call() -> None:
    rules = replace(CHANNEL, capacity=2)
    calls = [send(0, 1), send(10, 2), recv(30, 1), recv(40, 2)]
    assert judged(*calls[:2], send(20, 3, result=Result.FULL), *calls[2:], rules=rules).accepted
    late = send(50, 3, result=Result.FULL)
    assert judged(*calls, late, rules=rules).faults == {Fault.FALSE_FULL}
    assert judged(*calls, replace(late, invoked=46), rules=rules).faults == {Fault.FALSE_FULL}
    assert judged(*calls[:3], replace(late, invoked=35), calls[3], rules=rules).accepted


def test_a_death_that_nobody_died_is_refused_and_one_that_was_succeeded_is_over() -> None:
    told = recv(200, by=SUCCESSOR, result=Result.PEER_DIED)
    assert judged(send(0, 1), recv(10, 1, by=SUCCESSOR), told).faults == {Fault.FALSE_DEATH}
    assert judged(send(0, 1), recv(10, 1, by=SUCCESSOR), told, dead=(1,)).accepted
    succeeded = [send(0, 1), replace(send(120, 2), process=4), recv(110, 1, by=SUCCESSOR), recv(130, 2, by=SUCCESSOR)]
    assert judged(*succeeded, told, dead=(1,)).faults == {Fault.FALSE_DEATH}


def test_who_is_about_to_be_killed_is_no_successor_of_its_own() -> None:
    """Its first call came back between the moment that the log gives for the kill and its death."""
    history = History(deaths={RECEIVER: Death(95, 120)})
    history.add([send(0, 1), send(125, 2, result=Result.PEER_DIED), recv(100, 1), recv(140, by=SUCCESSOR)])
    assert Fault.FALSE_DEATH not in check(history, CHANNEL).faults
    history = History(deaths={RECEIVER: Death(95, 120)})
    history.add([send(0, 1), send(150, 2, result=Result.PEER_DIED), recv(100, 1), recv(140, by=SUCCESSOR)])
    assert check(history, CHANNEL).faults == {Fault.FALSE_DEATH}


def test_a_log_holds_what_its_killed_writer_had_begun_and_every_record_is_whole(tmp_path: Path) -> None:
    def write() -> None:
        log = Log(tmp_path / "writer.log", 7)
        number = 0
        while True:
            batch = [Item(number + i, 8, i) for i in range(1, 100)]
            log.begin(Op.SEND, batch)
            log.end(Result.OK, done=len(batch))
            number += 99

    path = tmp_path / "writer.log"
    with Forked(write) as writer:
        until(lambda: path.exists() and path.stat().st_size > 1_000_000, "a megabyte of records is written")
        writer.kill()
    assert path.stat().st_size % 64 == 0
    calls = read(tmp_path).operations
    assert all(len(call.items) == 99 for call in calls)
    assert [call.items[0].value for call in calls] == [1 + 99 * i for i in range(len(calls))]
    assert all(call.result == Result.OK for call in calls[:-1])


def test_a_logged_call_lies_inside_of_its_interval(tmp_path: Path) -> None:
    log = Log(tmp_path / "1.log", 1)
    before = time.monotonic_ns()
    log.begin(Op.RECV)
    inner = time.monotonic_ns()
    log.end(Result.EMPTY)
    after = time.monotonic_ns()
    log.close()
    (call,) = read(tmp_path).operations
    assert before <= call.invoked <= inner <= call.returned <= after
