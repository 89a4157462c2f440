"""``python -m progress_monitor_lab.bench BENCH …``; without arguments it lists them."""

from __future__ import annotations

import sys
from importlib import import_module

BENCHES = {
    'speed': 'the streaming decoder against whole windows through generate()',
    'model': 'a checkpoint against the truth of the simulated cell',
    'footage': 'evidence on real clips: false doubts, and causes that are found',
    'recovery': 'tasks saved by the supervisor, against nothing and a time-out',
    'judgement': 'stall, regression and success calls against the truth',
    'token_reading': 'the token reading: frozen scenes, calibration, error rates',
    'intake': 'how soon the node answers while a camera streams',
    'noise': 'the judgement on made series of noisy numbers',
}


def main() -> int:
    """Run the named benchmark with the remaining arguments and return its exit code."""
    if len(sys.argv) < 2 or sys.argv[1] not in BENCHES:
        print('usage: python -m progress_monitor_lab.bench BENCH [options]')
        for name, text in BENCHES.items():
            print(f'  {name:14} {text}')
        return 0 if sys.argv[1:] in (['-h'], ['--help']) else 2
    name = sys.argv[1]
    sys.argv = [f'python -m progress_monitor_lab.bench {name}', *sys.argv[2:]]
    code: int = import_module(f'progress_monitor_lab.bench.{name}').main() or 0
    return code


if __name__ == '__main__':
    sys.exit(main())
