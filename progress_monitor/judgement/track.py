"""One series of numbers of a task, and what is known of its noise."""

from __future__ import annotations

import numpy as np

from progress_monitor.config import SignalConfig
from progress_monitor.judgement.noise import NoiseModel
from progress_monitor.judgement.signal import Floats, ProgressSignal, Sample

WILD_DEVIATIONS = 4.0
LEAST_WILD = 0.12


class Track:
    """The signal of a series, and the noise that is learned from it as it grows."""

    def __init__(self, config: SignalConfig) -> None:
        self.signal = ProgressSignal(config)
        self.noise = NoiseModel()

    @property
    def series(self) -> Floats:
        """(2, ticks) observed time, s, and number without what the frames shown add to it."""
        times, numbers, frames = self.signal.series
        return np.stack((times, numbers - self.noise.influence(frames)))

    def add(self, time: float, stamp_ns: int, number: float, spread: float, frames: int) -> Sample:
        """Take in the number of one tick, as the model named it.

        :param time: observed time, s; :param spread: the decoder's own, 0..1, or NaN;
        :param frames: frames shown, 0 where it is not known.
        """
        influence = float(self.noise.influence(np.array([float(frames)]))[0])
        bare = min(max(number - influence, 0.0), 1.0)
        sample = self.signal.add(time, stamp_ns, bare, spread, number, frames)
        self.signal.reject(influence, max(WILD_DEVIATIONS * self.noise.scatter, LEAST_WILD))
        times, numbers, counts = self.signal.series
        self.noise.add(times, numbers, counts, spread)
        return sample

    def keep(self, time: float, stamp_ns: int, value: float, spread: float) -> Sample:
        """Take in a tick whose number is kept from before, so that nothing is learned of noise."""
        return self.signal.add(time, stamp_ns, value, spread, value)
