"""What a source of pictures is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from progress_monitor.parameters import ParameterError

# Stamps of sources that have none start here: to a monitor, time 0 is a clock that stands still.
START_NS = 1_000_000_000
_SHORTEST_S, _LONGEST_S = 0.001, 3600.0


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture of ``camera``: (height, width, 3) uint8 RGB, with its acquisition stamp."""

    camera: str
    stamp_ns: int
    image: NDArray[np.uint8]


@dataclass(frozen=True)
class SourceOptions:
    """What cannot be read from a source.

    ``topics`` are the camera topics of a bag, empty: all; ``period_s`` is the time between the
    pictures of a folder, s; None: 0.5.

    :raises ParameterError: if the period is none.
    """

    topics: tuple[str, ...] = ()
    period_s: float | None = None

    def __post_init__(self) -> None:
        if self.period_s is not None and not _SHORTEST_S <= self.period_s <= _LONGEST_S:
            raise ParameterError(
                f'--period: {self.period_s:g} is not a time between pictures; give '
                f'{_SHORTEST_S:g} to {_LONGEST_S:g} s'
            )


class Source(Protocol):
    """Pictures in the order in which they came.

    ``cameras`` are their names, ``fps`` is the rate of the first one's pictures, 1/s, and
    ``noise_free`` is the ``camera.noise_free`` that suits it, and
    ``notes`` are sentences on what was wrong, complete once all pictures were taken.
    ``pictures`` may be called once; it raises ``OSError`` if not a single picture can be read.
    """

    @property
    def cameras(self) -> tuple[str, ...]: ...

    @property
    def fps(self) -> float: ...

    @property
    def noise_free(self) -> str: ...

    @property
    def notes(self) -> list[str]: ...

    def pictures(self) -> Iterator[Picture]: ...


@dataclass(frozen=True)
class SourceKind:
    """A kind of source: whether a path is one, and how it is opened (``OSError`` if it cannot).

    ``reads`` names the options that it uses.
    """

    name: str
    reads: tuple[str, ...]
    accepts: Callable[[Path], bool]
    open: Callable[[Path, SourceOptions], Source] = field(repr=False)
