"""Which checkpoints a strategy is meant for."""

from __future__ import annotations

import re
from collections.abc import Sequence


def suits(model_name: str, patterns: Sequence[str]) -> bool:
    """Whether one of ``patterns`` (regular expressions, case ignored) is in ``model_name``."""
    return any(re.search(pattern, model_name[:1000], re.IGNORECASE) for pattern in patterns)


def unsuited(strategy: str, model_name: str, patterns: Sequence[str]) -> str:
    """A warning that ``model_name`` was not made for ``strategy``; empty: it was, or is unnamed."""
    if not model_name or suits(model_name, patterns):
        return ''
    return (
        f'{model_name} is not known to be trained for the strategy {strategy}; its answers may be '
        'unreadable or worth little'
    )
