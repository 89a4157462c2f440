"""Command line: ``python -m progress_monitor COMMAND``."""

from __future__ import annotations

import os
import sys
from importlib import import_module

from progress_monitor.standard_streams import occupy

# Each module has a function main(arguments) that returns an exit code.
COMMANDS = {
    'annotate': 'progress_monitor.adapt.annotate',
    'adapt': 'progress_monitor.adapt.command',
    'watch': 'progress_monitor.offline.command',
    'calibrate': 'progress_monitor.offline.calibrate',
    'demonstrate': 'progress_monitor.offline.demonstrate',
}


def main(arguments: list[str]) -> int:
    """Run the command that the first argument names; 2 if it names none.

    Other codes are the command's own, 130 if it is interrupted, and 141 if what it prints to is
    closed, as shells have it.
    """
    occupy()
    if not arguments or arguments[0] not in COMMANDS:
        print(
            f'usage: python -m progress_monitor {{{",".join(COMMANDS)}}} ...\n'
            'Each takes --help. The nodes are started with ros2 launch or ros2 run.',
            file=sys.stderr,
        )
        return 2
    try:
        try:
            return int(import_module(COMMANDS[arguments[0]]).main(arguments[1:]))
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        return 130
    except BrokenPipeError:
        # What is left would be tried again at the end of the process.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
