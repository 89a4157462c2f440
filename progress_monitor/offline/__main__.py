"""``python -m progress_monitor.offline``: the same as ``python -m progress_monitor watch``."""

import sys

from progress_monitor.offline.command import main

if __name__ == '__main__':
    sys.exit(main())
