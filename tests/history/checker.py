"""The history checker: whether what several processes tell of one structure can have happened, and was promised.

It proves nothing about what did not happen in this history.  It is sound: what it refuses is wrong, whatever happened
inside of the intervals that the logs give.  Every check is O(n log n), because values are unique.
"""

from __future__ import annotations

from collections.abc import Collection

from tests.history.answers import check_deaths, check_empty, check_ends, check_full
from tests.history.delivery import check_content, check_duplicates, check_losses
from tests.history.facts import Facts
from tests.history.leases import check_leases
from tests.history.operations import History
from tests.history.order import check_order
from tests.history.readers import check_numbers, check_readers
from tests.history.rules import Report, Rules

__all__ = ["check"]


def check(history: History, rules: Rules, *, left: Collection[int] = ()) -> Report:
    """Compare a history with what is promised.

    Args:
      history: what the processes tell.
      rules: what their structure promises.
      left: values that are still in the structure, by somebody who has looked when all was over.
    """
    report = Report()
    facts = Facts.of(history, rules, left, report)
    check_content(facts)
    check_order(facts)
    if rules.readers == "each":
        check_readers(facts)
    elif rules.leases:
        check_leases(facts)
    else:
        check_duplicates(facts)
        check_losses(facts)
        check_empty(facts)
    if rules.order == "total":
        check_numbers(facts)
    check_full(facts)
    check_deaths(facts)
    check_ends(facts)
    return report
