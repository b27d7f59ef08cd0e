"""V1, V2, V3, V7, V8: nothing invented, lost, duplicated, torn or resized, for messages that readers share.

What a death allows, and no more:

- A reader killed in a RECV may have taken as many messages as that call might have taken, and nobody tells them.  Where
  there is one order, they stand between what was told before that call and what was told after it.
- A reader killed in a VIEW has taken at most the message that it has told; it may come again, to a successor.
- A sender killed in a SEND has sent all of it or nothing; of a batch, the first so many.

For leases, read "acknowledged" for "taken": see leases.py.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Iterable

from tests.history.facts import Facts, Sent, Take
from tests.history.operations import FOREVER, Result
from tests.history.rules import Fault

__all__ = ["check_content", "check_duplicates", "check_losses"]


def check_content(facts: Facts) -> None:
    """What came was sent, before, and is what was sent."""
    report = facts.report
    for value, takes in facts.takes.items():
        sent = facts.sent.get(value)
        for take in takes:
            where = f"value {value} at process {take.call.process}"
            if sent is None:
                report.refuse(Fault.INVENTED, f"{where} was never sent")
            elif not sent.possible:
                report.refuse(Fault.INVENTED, f"{where} came although its sender was told {sent.call.result.name}")
            elif take.until < sent.begun:
                report.refuse(Fault.INVENTED, f"{where} came before it was sent")
            elif take.item.size != sent.item.size:
                report.refuse(Fault.WRONG_SIZE, f"{where} has {take.item.size} bytes, was sent with {sent.item.size}")
            elif take.item.crc != sent.item.crc:
                report.refuse(Fault.TORN, f"{where} is not the {take.item.size} bytes that were sent")
    report.received = len(facts.takes)


def check_duplicates(facts: Facts) -> None:
    """Once taken for certain, a message never comes again; and it comes again only to somebody else's handle."""
    for value, takes in facts.takes.items():
        for before, after in itertools.pairwise(takes):
            facts.report.again += 1
            same_handle = _handle(before) == _handle(after)
            if before.final or (same_handle and before.call.result != Result.KEPT):
                facts.report.refuse(
                    Fault.DUPLICATED,
                    f"value {value} at process {before.call.process}, and again at process {after.call.process}",
                )


def _handle(take: Take) -> tuple[int, int]:
    return take.call.process, take.call.handle


def check_losses(facts: Facts) -> None:
    """What was sent has come, is there still, or was taken by a reader that did not live to tell."""
    missing = [
        sent
        for sent in facts.in_order
        if sent.certain and sent.item.value not in facts.left and not _has_come(facts, sent)
    ]
    facts.report.left = len(facts.left)
    excused = _excused_in_order(facts, missing) if facts.rules.order == "total" else _excused(facts, missing)
    facts.report.untold += excused


def _has_come(facts: Facts, sent: Sent) -> bool:
    return any(take.may_have_taken for take in facts.takes.get(sent.item.value, ()))


def _excused(facts: Facts, missing: Iterable[Sent]) -> int:
    """Match each missing message with a dead reader that may have taken it: any that died after it was sent.

    Those that died later may have taken all that those that died earlier may have, and more, so that it is enough to
    serve the messages sent last first.
    """
    readers = sorted(facts.hidden, key=lambda hidden: hidden[1])
    room = excused = 0
    for sent in sorted(missing, key=lambda sent: sent.begun, reverse=True):
        while readers and readers[-1][1] >= sent.begun:
            room += readers.pop()[2]
        if room:
            room -= 1
            excused += 1
        else:
            _lost(facts, sent)
    return excused


def _excused_in_order(facts: Facts, missing: Iterable[Sent]) -> int:
    """The same where the messages have one order: a dead reader took what follows what was told before it."""
    told = sorted(
        (facts.sent[value].place, take.begun, take.until)
        for value, takes in facts.takes.items()
        if value in facts.sent
        for take in takes
        if take.may_have_taken
    )
    places = [place for place, _, _ in told]
    begun = sorted((call.invoked, dead_by, most) for call, dead_by, most in facts.hidden)
    moments = [moment for moment, _, _ in begun]
    taken: dict[int, int] = {}
    excused = 0
    for sent in missing:
        at = bisect_left(places, sent.place)
        since = told[at - 1][1] if at > 0 else 0
        until = told[at][2] if at < len(told) else FOREVER
        first, behind = bisect_left(moments, since), bisect_right(moments, until)
        room = sum(most for _, dead_by, most in begun[first:behind] if dead_by >= sent.begun)
        if taken.get(at, 0) < room:
            taken[at] = taken.get(at, 0) + 1
            excused += 1
        else:
            _lost(facts, sent)
    return excused


def _lost(facts: Facts, sent: Sent) -> None:
    facts.report.refuse(
        Fault.LOST, f"value {sent.item.value} of process {sent.call.process}, sent by {sent.until}, never came"
    )
