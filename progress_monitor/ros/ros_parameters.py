"""ROS parameters made from the declarations of a configuration dataclass."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable
from typing import Any, TypeVar

from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from progress_monitor.parameters import Declaration, ParameterError, build, check, declarations
from progress_monitor.printable import printable

T = TypeVar('T')


def declare(
    node: Node,
    config: type[Any],
    locked: Callable[[str], str],
    accept: Callable[[dict[str, Any]], None],
    apply: Callable[[dict[str, Any]], None] | None = None,
    left_unset: Collection[str] = (),
) -> None:
    """Declare every parameter of ``config`` on ``node``.

    A value from a file or the command line is not judged here but when the node is configured, so
    that a bad one refuses the transition by name instead of ending the process: hence dynamic
    typing, and bounds in words. A later change is judged at once.

    :param locked: says why the parameter of that name cannot change now; empty: it can.
    :param accept: takes all values with the changes among them, before they are made; raises
        ``ParameterError`` to refuse them. It changes nothing: another may refuse them still.
    :param apply: takes all values once the changes are made.
    :param left_unset: parameters without a value of their own unless one is given, because what
        they are otherwise depends on others.
    """
    known = {item.name: item for item in declarations(config)}
    for item in known.values():
        value = list(item.default) if item.type is tuple else item.default
        value = None if item.name in left_unset else value
        descriptor = ParameterDescriptor(
            name=item.name,
            description=item.description,
            additional_constraints=constraints(item),
            dynamic_typing=True,
        )
        node.declare_parameter(item.name, value, descriptor)

    def judge(parameters: list[Parameter]) -> SetParametersResult:
        changes = {given.name: given.value for given in parameters if given.name in known}
        try:
            for name, value in changes.items():
                reason = locked(name)
                if reason:
                    raise ParameterError(f'{name}: {reason}')
                check(known[name], value)
            if changes:
                accept({**_values(node, known.values()), **changes})
        except ParameterError as error:
            return SetParametersResult(successful=False, reason=printable(str(error)))
        return SetParametersResult(successful=True)

    def changed(parameters: list[Parameter]) -> None:
        if apply is not None and any(given.name in known for given in parameters):
            apply(_values(node, known.values()))

    node.add_on_set_parameters_callback(judge)
    node.add_post_set_parameters_callback(changed)
    _name_unknown(node, known)


def _name_unknown(node: Node, known: Collection[str]) -> None:
    """Warn of values for parameters that there are not: ROS takes them and says nothing."""
    # rclpy gives no other access to what was set by files and the command line.
    given = getattr(node, '_parameter_overrides', {})
    unknown = [
        name
        for name in sorted(given)
        if not node.has_parameter(name) and not name.startswith('qos_overrides.')
    ]
    for name in unknown:
        close = difflib.get_close_matches(name, known, 1)
        meant = f'; did you mean {close[0]}?' if close else ''
        node.get_logger().warning(printable(f'{name}: no such parameter, nothing reads it{meant}'))


def read(node: Node, config: type[T]) -> T:
    """Build ``config`` from the node's parameters.

    :raises ParameterError: naming the parameter that cannot be used.
    """
    return build(config, values_of(node, config))


def values_of(node: Node, config: type[Any]) -> dict[str, Any]:
    """The values of all parameters of ``config`` that have one, by dotted name."""
    return _values(node, list(declarations(config)))


def _values(node: Node, items: Iterable[Declaration]) -> dict[str, Any]:
    values = {item.name: node.get_parameter(item.name).value for item in items}
    # ROS cannot tell the type of an empty list in a file, and leaves the parameter unset.
    empty = {item.name: () for item in items if item.type is tuple and values[item.name] is None}
    return {**{name: value for name, value in values.items() if value is not None}, **empty}


def constraints(item: Declaration) -> str:
    """The bounds of a parameter in words; empty where it has none."""
    parts = []
    if item.choices:
        parts.append('one of ' + ', '.join(item.choices))
    if item.above is not None:
        parts.append(f'above {item.above:g}')
    if item.minimum is not None:
        parts.append(f'at least {item.minimum:g}')
    if item.maximum is not None:
        parts.append(f'at most {item.maximum:g}')
    return ', '.join(parts)
