"""Write the README's tables of parameters from their declarations.

``python -m progress_monitor_lab.parameter_table README.md`` replaces what stands between
``<!-- parameters -->`` and ``<!-- end of parameters -->``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from progress_monitor.node_config import NodeConfig
from progress_monitor.parameters import declarations
from progress_monitor.ros.ros_parameters import constraints
from progress_monitor.ros.supervisor_node import SupervisorConfig
from progress_monitor_lab.sim.node import CellConfig

BEGIN = '<!-- parameters -->\n'
END = '<!-- end of parameters -->\n'
_NODES = {'progress_monitor': NodeConfig, 'supervisor': SupervisorConfig, 'cell': CellConfig}


def parameter_tables() -> str:
    """One Markdown table a node, in the order of declaration, ungrouped parameters first."""
    lines: list[str] = []
    for node, config in _NODES.items():
        lines += [f'Node `{node}`:', '', '| parameter | default | |', '| --- | --- | --- |']
        for item in sorted(declarations(config), key=lambda item: '.' in item.name):
            default = list(item.default) if isinstance(item.default, tuple) else item.default
            bounds = constraints(item)
            text = f'{item.description} ({bounds})' if bounds else item.description
            cell = text.replace('|', '\\|')
            lines.append(f'| `{item.name}` | `{json.dumps(default)}` | {cell} |')
        lines.append('')
    return '\n'.join(lines)


def with_tables(text: str) -> str:
    """``text`` with the tables between the two marks.

    :raises ValueError: if a mark is missing.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f'the marks {BEGIN.strip()} and {END.strip()} are missing')
    return f'{before}{BEGIN}\n{parameter_tables()}\n{END}{after}'


def main() -> int:
    """Rewrite the file that the first argument names."""
    if len(sys.argv) != 2:
        print('usage: python -m progress_monitor_lab.parameter_table README.md', file=sys.stderr)
        return 2
    path = Path(sys.argv[1])
    try:
        path.write_text(with_tables(path.read_text(encoding='utf-8')), encoding='utf-8')
    except (OSError, ValueError) as error:
        print(f'{path}: {error}', file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
