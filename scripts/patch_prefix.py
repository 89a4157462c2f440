"""Point the CMake files of the ROS wheels at this interpreter.

The wheels name the include folders of the Python and the NumPy that they were built with; a message
package fails in CMake's generate step until they name this environment's. Run it with the virtual
environment's own interpreter. A second run changes nothing.
"""

from __future__ import annotations

import os
import re
import sys
import sysconfig
from pathlib import Path

import numpy as np

_PYTHON_INCLUDE = re.compile(r'/opt/python/[^/;" ]+/include/python3\.\d+')
_NUMPY_INCLUDE = re.compile(
    r'/opt/python/[^/;" ]+/lib/python3\.\d+/site-packages/numpy/_?core/include'
)


def main() -> int:
    """Rewrite what needs it under ``<prefix>/share`` and say how many files that were."""
    python_include = sysconfig.get_path('include')
    changed = 0
    for path in Path(sys.prefix, 'share').rglob('*.cmake'):
        text = path.read_text(encoding='utf-8')
        patched = _NUMPY_INCLUDE.sub(lambda _: np.get_include(), text)
        patched = _PYTHON_INCLUDE.sub(lambda _: python_include, patched)
        if patched == text:
            continue
        temporary = path.with_suffix('.cmake.new')
        temporary.write_text(patched, encoding='utf-8')
        os.replace(temporary, path)
        changed += 1
    print(f'{changed} CMake files now name {python_include}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
