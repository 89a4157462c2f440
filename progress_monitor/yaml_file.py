"""YAML files that people write, read strictly."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from progress_monitor.parameters import ParameterError

_LARGEST = 1_000_000


class _Loader(yaml.SafeLoader):
    """Refuses what YAML resolves silently: an entry that is given twice, and aliases.

    ROS reads no aliases in parameter files either, and a small file of them may stand for one
    without an end.
    """

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.MarkedYAMLError(None, None, 'aliases are not read', event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        given: set[tuple[str, str]] = set()
        for key, _ in node.value:
            name = (key.tag, str(key.value))
            if name in given:
                raise yaml.MarkedYAMLError(
                    None, None, f'{key.value} is given twice', key.start_mark
                )
            given.add(name)
        return super().construct_mapping(node, deep)


# YAML 1.1 takes 1e-3 for a text; ROS takes it for a number.
_Loader.add_implicit_resolver(
    'tag:yaml.org,2002:float', re.compile(r'[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$'), '-+.0123456789'
)


def read_yaml(path: Path) -> Any:
    """What the file holds.

    :raises OSError: if the file cannot be read.
    :raises ParameterError: naming the file, and the line where there is one, if it is not YAML, is
        larger than a megabyte, has aliases, or gives an entry twice.
    """
    with path.open('rb') as file:
        data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise ParameterError(f'{path}: more than {_LARGEST} bytes')
    try:
        return yaml.load(data.decode(), _Loader)  # noqa: S506
    except UnicodeDecodeError:
        raise ParameterError(f'{path}: is not YAML: it is no UTF-8 text') from None
    except RecursionError:
        raise ParameterError(f'{path}: is nested too deeply') from None
    except (yaml.YAMLError, ValueError) as error:
        raise ParameterError(f'{path}: is not YAML: {" ".join(str(error).split())}') from error
