"""What is odd about the stamps of pictures: gaps, and times that go back."""

from __future__ import annotations

from dataclasses import dataclass, field

GAP_S = 2.0


@dataclass
class Timeline:
    """Watches the stamps of several cameras."""

    _last_ns: dict[str, int] = field(default_factory=dict)
    _first_ns: int | None = None
    _gaps: int = 0
    _longest: tuple[float, float, str] = (0.0, 0.0, '')
    _back: int = 0

    def note(self, camera: str, stamp_ns: int) -> None:
        """Take note of one picture."""
        if self._first_ns is None:
            self._first_ns = stamp_ns
        last_ns = self._last_ns.get(camera)
        if last_ns is not None and stamp_ns < last_ns:
            self._back += 1
        elif last_ns is not None and (stamp_ns - last_ns) * 1e-9 > GAP_S:
            self._gaps += 1
            gap = (stamp_ns - last_ns) * 1e-9
            self._longest = max(self._longest, (gap, (last_ns - self._first_ns) * 1e-9, camera))
        self._last_ns[camera] = stamp_ns

    def notes(self) -> list[str]:
        """What was odd, in sentences."""
        said = []
        if self._gaps:
            gap, at, camera = self._longest
            plural = 's' if self._gaps > 1 else ''
            said.append(
                f'{self._gaps} gap{plural} of more than {GAP_S:g} s between pictures, the longest '
                f'{gap:.1f} s at {at:.1f} s ({camera})'
            )
        if self._back:
            said.append(f'stamps go back {self._back} times')
        return said
