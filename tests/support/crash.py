"""A process that ends at a chosen step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Function = Callable[..., Any]


def before(step: int, end: Callable[[], object]) -> Callable[[Function], Function]:
    """A wrapper of functions: before the 1st, 2nd, ... call of any of them, all counted together, comes `end`."""
    left = step

    def counted(function: Function) -> Function:
        def call(*arguments: Any, **keywords: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                end()
            return function(*arguments, **keywords)

        return call

    return counted
