"""The judgement on made series of noisy numbers: ``make noisebench``. Needs no model.

Each series is a straight rise that stops, falls back or goes on, with noise laid over it: white or
correlated from tick to tick, a saw-tooth of the window's length, rounding, wild answers. Steady
work runs from 5 to 95 % at a multiple of the minimum gain per allowance, over and over, each time
with a new judge. Beside the measured delays stands an information bound (``least_delay``), and
other detectors are played the same stalls (``noise_detectors.py``).
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from progress_monitor.config import MonitorConfig
from progress_monitor.judgement.judge import Judge
from progress_monitor.judgement.tick import Tick
from progress_monitor.types import NAN, Estimate, Evidence, StallCause, StallReport, Task, Verdict
from progress_monitor_lab.bench.noise_detectors import Setting, delays, detectors

Floats = NDArray[np.float64]

TICK_S = 0.5
GAIN = 0.03
SAW_TICKS = 13
SAW_SIZE = 0.04
FALL = 0.3
CORRELATION = 0.7
STEP = ('Go on',)
MULTIPLES = (2, 4, 8)
ALLOWANCES_S = (7.5, 15.0, 37.5)
CALM_HOURS = 2.0
AIMS = {2.0: 1.5, 5.0: 4.0}
"""Delay of a stall that is aimed at, allowances, by points of scatter."""
PATIENCE = 14.0
"""Allowances after its onset within which a stall must be called to count as found."""


@dataclass(frozen=True)
class Noise:
    """What is laid over the truth: points of scatter, its correlation, and the other faults."""

    points: float
    correlation: float = 0.0
    saw: bool = False
    rounding: float = 0.0
    wild: float = 0.0

    @property
    def name(self) -> str:
        """As in the table."""
        parts = [f'{self.points:g} points', f'rho {self.correlation:g}']
        parts += ['saw-tooth'] if self.saw else []
        parts += ['rounded'] if self.rounding else []
        parts += ['wild'] if self.wild else []
        return ', '.join(parts)

    def over(self, truth: Floats, random: np.random.Generator) -> tuple[Floats, NDArray[np.int64]]:
        """Numbers that a model with this noise names, and the frames that it was shown."""
        ticks = len(truth)
        shocks = random.standard_normal(ticks) * math.sqrt(1.0 - self.correlation**2)
        scatter = np.empty(ticks)
        last = random.standard_normal()
        for index in range(ticks):
            last = self.correlation * last + shocks[index]
            scatter[index] = last
        phase = (np.arange(ticks) + random.integers(SAW_TICKS)) % SAW_TICKS
        numbers = truth + 0.01 * self.points * scatter
        if self.saw:
            numbers = numbers + SAW_SIZE * (phase / (SAW_TICKS - 1) - 0.5)
        if self.wild:
            numbers = np.where(random.random(ticks) < self.wild, random.random(ticks), numbers)
        if self.rounding:
            numbers = np.round(numbers / self.rounding) * self.rounding
        return np.clip(numbers, 0.0, 1.0), phase + 5


COMPARED = tuple(Noise(points, rho) for points in (2.0, 5.0) for rho in (0.0, CORRELATION))


def least_delay(noise: Noise, allowance_s: float) -> float:
    """Information bound of the mean delay with ``CALM_HOURS`` between false alarms, in allowances.

    To first order (Lorden 1971, Lai 1998) a test needs the time in which the information of "no
    gain" against "twice the minimum gain" reaches the logarithm of the stretches of that length
    between two false alarms. Level and slope before the onset are not known to it (known, they
    would make it 1.6 times less); the noise is, and a test that must learn it is later. No call is
    due before the allowance.
    """
    rho = noise.correlation
    blur = 0.01 * noise.points * math.sqrt((1.0 + rho) / (1.0 - rho))
    slope = 2.0 * GAIN * TICK_S / allowance_s
    delay = 1.0
    for _ in range(20):
        needed = math.log(CALM_HOURS * 3600.0 / (delay * allowance_s))
        ticks = (24.0 * needed * (blur / slope) ** 2) ** (1.0 / 3.0)
        delay = max(ticks * TICK_S / allowance_s, 1.0)
    return delay


def judged(
    numbers: Floats, frames: NDArray[np.int64], allowance_s: float, until: int | None = None
) -> list[tuple[int, StallReport]]:
    """Play a series to a new judge; its reports on stalls with the tick that each was made at.

    :param until: stop at the first call after this tick.
    """
    judge = Judge(MonitorConfig(), Task('t', 'go on', allowance_s))
    reports: list[tuple[int, StallReport]] = []
    for index, number in enumerate(numbers.tolist()):
        stamp_ns = round((1.0 + index * TICK_S) * 1e9)
        estimate = Estimate(
            stamp_ns, number, NAN, STEP, Evidence.GOOD, '', verdict=Verdict.NOT_DONE
        )
        judge.add(Tick(estimate, STEP[0], frames=int(frames[index])))
        reports += [
            (index, report) for report in judge.take_reports() if isinstance(report, StallReport)
        ]
        if until is not None and index > until and reports and reports[-1][1].stalled:
            return reports
    return reports


def stalled_series(
    duration_s: float, allowance_s: float, random: np.random.Generator
) -> tuple[Floats, int]:
    """A rise over ``duration_s`` that stops between 40 and 80 %, and the tick of its onset."""
    level = random.uniform(0.4, 0.8)
    onset = max(round(level * duration_s / TICK_S), 1)
    rise = np.linspace(0.0, level, onset + 1)
    rest = np.full(math.ceil(PATIENCE * allowance_s / TICK_S), level)
    return np.concatenate((rise, rest)), onset


def fallen_series(
    duration_s: float, allowance_s: float, random: np.random.Generator
) -> tuple[Floats, int]:
    """A rise that falls by ``FALL`` between 50 and 80 % and goes on from there."""
    level = random.uniform(0.5, 0.8)
    fall = max(round(level * duration_s / TICK_S), 1)
    rise = np.linspace(0.0, level, fall + 1)
    again = level - FALL + np.arange(1, fall) * (0.5 * level / fall)
    return np.concatenate((rise, np.minimum(again, 0.95))), fall


def steady_series(multiple: int, allowance_s: float) -> Floats:
    """Work that makes ``multiple`` minimum gains in every allowance, from 5 to 95 %."""
    step = multiple * GAIN * TICK_S / allowance_s
    return np.arange(0.05, 0.95, step)


@dataclass
class Figures:
    """What one kind of noise comes to; delays in allowances, rates per hour of steady work."""

    name: str
    allowance_s: float
    points: float = 0.0
    stalls: int = 0
    found: int = 0
    delays: tuple[float, ...] = ()
    least_delay: float = 1.0
    hours: tuple[float, ...] = ()
    alarms: tuple[int, ...] = ()
    falls: int = 0
    falls_found: int = 0
    false_falls: int = 0
    ticks: int = 0


def measure(noise: Noise, allowance_s: float, series: int, hours: float, seed: int) -> Figures:
    """Play ``series`` stalls and falls and ``hours`` of steady work per multiple."""
    random = np.random.default_rng(seed)
    least = least_delay(noise, allowance_s)
    figures = Figures(noise.name, allowance_s, noise.points, least_delay=least)
    durations = [allowance_s / (multiple * GAIN) for multiple in MULTIPLES]
    delays = []
    for index in range(series):
        truth, onset = stalled_series(durations[index % 3], allowance_s, random)
        reports = judged(*noise.over(truth, random), allowance_s, until=onset)
        calls = [at for at, report in reports if report.stalled]
        # A call made shortly before the onset that still stands is one at no delay.
        stands = bool(reports) and reports[-1][1].stalled
        due = [at for at in calls if at > onset] or (calls[-1:] if stands else [])
        figures.stalls += 1
        if due:
            figures.found += 1
            delays.append(max(due[0] - onset, 0) * TICK_S / allowance_s)
        truth, fall = fallen_series(durations[index % 3], allowance_s, random)
        lost = [
            at
            for at, report in judged(*noise.over(truth, random), allowance_s)
            if report.cause is StallCause.REGRESSION
        ]
        figures.falls += 1
        figures.falls_found += any(at > fall for at in lost)
        figures.false_falls += sum(at <= fall for at in lost)
        figures.ticks += 2 * len(truth)
    figures.delays = tuple(delays)
    watched, alarms = [], []
    for multiple in MULTIPLES:
        truth = steady_series(multiple, allowance_s)
        runs = math.ceil(hours * 3600.0 / (len(truth) * TICK_S))
        count = 0
        for _ in range(runs):
            count += sum(
                report.stalled for _, report in judged(*noise.over(truth, random), allowance_s)
            )
        alarms.append(count)
        watched.append(runs * len(truth) * TICK_S / 3600.0)
        figures.ticks += runs * len(truth)
    figures.hours, figures.alarms = tuple(watched), tuple(alarms)
    return figures


def compared(noise: Noise, seed: int, series: int = 40, hours: float = 8.0) -> dict[str, Floats]:
    """Delays of each detector on the same stalls, in allowances, at the same false-alarm rate.

    Of a detector that can be tuned the best variant on these very stalls is taken.
    """
    random = np.random.default_rng(seed)
    allowance_s = ALLOWANCES_S[1]
    steady = steady_series(2, allowance_s)
    runs = math.ceil(hours * 3600.0 / (len(steady) * TICK_S))
    calm = np.stack([noise.over(steady, random)[0] for _ in range(runs)])
    stalls: list[Floats] = []
    onsets: list[int] = []
    while len(stalls) < series:
        truth, onset = stalled_series(allowance_s / (2 * GAIN), allowance_s, random)
        stalls.append(noise.over(truth, random)[0])
        onsets.append(onset)
    length = min(len(numbers) for numbers in stalls)
    shown = np.stack([numbers[-length:] for numbers in stalls])
    starts = [onset - len(numbers) + length for onset, numbers in zip(onsets, stalls, strict=True)]
    known = Setting(0.01 * noise.points, noise.correlation, GAIN, allowance_s, TICK_S)
    found = {}
    for name, variants in detectors().items():
        tried = [delays(variant, calm, shown, starts, known) for variant in variants]
        found[name] = min(tried, key=lambda waited: float(np.median(waited)))
    return found


def kinds() -> list[Noise]:
    """Every kind of noise that is measured."""
    grid = itertools.product((0.0, 1.0, 2.0, 3.0, 5.0, 8.0), (0.0, CORRELATION))
    plain = [Noise(points, rho) for points, rho in grid if points or not rho]
    saws = [Noise(noise.points, noise.correlation, saw=True) for noise in plain]
    mixed = [Noise(noise.points, noise.correlation, rounding=0.05) for noise in plain]
    wild = [Noise(noise.points, noise.correlation, wild=0.05) for noise in plain]
    return plain + saws + mixed + wild


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the table and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--series', type=int, default=3, help='stalls and falls of each kind')
    parser.add_argument(
        '--hours', type=float, default=0.03, help='steady work of each kind, multiple and allowance'
    )
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--workers', type=int, default=os.cpu_count() or 1)
    parser.add_argument('--out', type=Path, default=Path('out/bench/noise.json'))
    given = parser.parse_args(arguments)
    if given.series < 1 or given.hours <= 0.0:
        print('--series and --hours must be above 0', file=sys.stderr)
        return 2
    jobs = list(itertools.product(kinds(), ALLOWANCES_S))
    with ProcessPoolExecutor(max(given.workers, 1)) as pool:
        results = [
            pool.submit(measure, noise, allowance, given.series, given.hours, given.seed + index)
            for index, (noise, allowance) in enumerate(jobs)
        ]
        figures = [result.result() for result in results]
    print(HEADER)
    for noise in kinds():
        print(_line([item for item in figures if item.name == noise.name]))
    print(f'\nDelays above what is aimed at:\n\n{MISSED_HEADER}')
    print('\n'.join(missed(figures)))
    print('\nDetectors on the same stalls at the same rate of false alarms:\n')
    print('| detector | noise | delay median, 95 %, max |\n| --- | --- | --- |')
    others = []
    for noise in COMPARED:
        for name, waited in compared(noise, given.seed).items():
            middle, late, latest = np.quantile(waited, (0.5, 0.95, 1.0), method='lower')
            print(f'| {name} | {noise.name} | {middle:.2f}, {late:.2f}, {latest:.2f} |')
            others.append(
                {
                    'detector': name,
                    'noise': noise.name,
                    'delays': [x if math.isfinite(x) else None for x in waited.tolist()],
                }
            )
    given.out.parent.mkdir(parents=True, exist_ok=True)
    told = {'judge': [asdict(item) for item in figures], 'detectors': others}
    given.out.write_text(json.dumps(told, indent=1) + '\n')
    print(f'written to {given.out}')
    return 0


HEADER = (
    '| noise | stalls found | delay median, 95 %, max | bound of the mean | '
    'false alarms per hour at 2, 4, 8 gains | falls found | false falls |\n'
    '| --- | --- | --- | --- | --- | --- | --- |'
)


MISSED_HEADER = (
    '| noise | allowance | delay median, max | aim | bound of the mean | forbidden by it |\n'
    '| --- | --- | --- | --- | --- | --- |'
)


def missed(figures: Sequence[Figures]) -> list[str]:
    """A row for each kind of noise and allowance whose latest call came after the aim.

    The last cell says by how many allowances the information bound lies above the aim.
    """
    rows = []
    for item in figures:
        aim = AIMS.get(item.points, math.inf)
        if not item.delays or max(item.delays) <= aim:
            continue
        above = item.least_delay - aim
        rows.append(
            f'| {item.name} | {item.allowance_s:g} s | {float(np.median(item.delays)):.2f}, '
            f'{max(item.delays):.2f} | {aim:g} | {item.least_delay:.2f} | '
            f'{f"by {above:.2f}" if above > 0.0 else "no"} |'
        )
    return rows


def _line(items: list[Figures]) -> str:
    """One row: a kind of noise over all allowances; delays in allowances."""
    delays = np.array([delay for item in items for delay in item.delays] or [NAN])
    middle, late, latest = np.quantile(delays, (0.5, 0.95, 1.0))
    least = np.mean([item.least_delay for item in items])
    rates = [
        sum(item.alarms[index] for item in items) / sum(item.hours[index] for item in items)
        for index in range(len(MULTIPLES))
    ]
    stalls, found = (sum(getattr(item, name) for item in items) for name in ('stalls', 'found'))
    falls, seen, false = (
        sum(getattr(item, name) for item in items)
        for name in ('falls', 'falls_found', 'false_falls')
    )
    return (
        f'| {items[0].name} | {found / stalls:.3f} | {middle:.2f}, {late:.2f}, {latest:.2f} | '
        f'{least:.2f} | {", ".join(f"{rate:.2f}" for rate in rates)} | {seen / falls:.3f} | '
        f'{false} |'
    )


if __name__ == '__main__':
    sys.exit(main())
