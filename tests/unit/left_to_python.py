"""Which accelerated methods were left to Python, and how often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest


def counted(monkeypatch: pytest.MonkeyPatch, methods: Iterable[tuple[type, str]]) -> Counter[str]:
    """Counts the calls of what these methods fall back to, by the methods' names."""
    count: Counter[str] = Counter()
    for owner, name in methods:
        attribute = f"_{name}_over_cffi"
        if attribute in owner.__dict__:
            ours = owner.__dict__[attribute]

            def counting(*args: Any, _ours: Any = ours, _name: str = name, **options: Any) -> Any:
                count[_name] += 1
                return _ours(*args, **options)

            monkeypatch.setattr(owner, attribute, counting)
    return count
