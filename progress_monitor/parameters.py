"""Parameters declared once: a frozen dataclass whose fields carry bounds and a description.

The node declares its ROS parameters, the YAML check refuses what is wrong, and the README's table
is made from these same fields. A group of parameters is a nested dataclass; its fields are named
``group.name``.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

T = TypeVar('T')


class ParameterError(ValueError):
    """A parameter has a value that cannot be used. The message names it and says what to do."""


@dataclasses.dataclass(frozen=True)
class Declaration:
    """One parameter: its full dotted name, type, default, bounds, choices and description."""

    name: str
    type: type
    default: Any
    description: str
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...]
    above: float | None


def parameter(
    default: Any,
    description: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """Declare a field as a parameter. ``above`` is an exclusive lower bound."""
    metadata = {
        'description': description,
        'minimum': minimum,
        'maximum': maximum,
        'above': above,
        'choices': choices,
    }
    if isinstance(default, (list, tuple)):
        return dataclasses.field(default=tuple(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def declarations(config: type, prefix: str = '') -> Iterator[Declaration]:
    """Yield every parameter of ``config`` and of the groups within it, in order."""
    hints = typing.get_type_hints(config)
    for item in dataclasses.fields(config):
        kind = hints[item.name]
        if dataclasses.is_dataclass(kind):
            yield from declarations(typing.cast(type, kind), f'{prefix}{item.name}.')
            continue
        origin = typing.get_origin(kind)
        yield Declaration(
            name=prefix + item.name,
            type=tuple if origin is tuple else kind,
            default=item.default,
            description=item.metadata['description'],
            minimum=item.metadata['minimum'],
            maximum=item.metadata['maximum'],
            choices=item.metadata['choices'],
            above=item.metadata['above'],
        )


def check(declaration: Declaration, value: Any) -> Any:
    """Return ``value`` in the declared type.

    :raises ParameterError: if the type is wrong or the value lies outside its bounds.
    """
    name = declaration.name
    if declaration.type is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            value = float(value)
        except OverflowError:
            value = math.inf
    if declaration.type is tuple and isinstance(value, (list, tuple)):
        value = tuple(str(item) for item in value)
    if isinstance(value, bool) and {'yes', 'no'} <= set(declaration.choices):
        value = 'yes' if value else 'no'  # YAML reads the words so
    expected: Any = declaration.type
    wrong_bool = isinstance(value, bool) and expected is not bool
    if wrong_bool or not isinstance(value, expected):
        wanted = 'list' if expected is tuple else expected.__name__
        raise ParameterError(f'{name}: expected {wanted}, got {type(value).__name__} {value!r}')
    if declaration.choices and value not in declaration.choices:
        raise ParameterError(f'{name}: {value!r} is not one of {", ".join(declaration.choices)}')
    if isinstance(value, float) and not math.isfinite(value):
        raise ParameterError(f'{name}: {value} is not a finite number')
    if declaration.above is not None and value <= declaration.above:
        raise ParameterError(f'{name}: {value} must be above {declaration.above}')
    if declaration.minimum is not None and value < declaration.minimum:
        raise ParameterError(f'{name}: {value} is below its minimum {declaration.minimum}')
    if declaration.maximum is not None and value > declaration.maximum:
        raise ParameterError(f'{name}: {value} is above its maximum {declaration.maximum}')
    return value


def build(config: type[T], values: Mapping[str, Any]) -> T:
    """Make a ``config`` from dotted names; what is not named keeps its default.

    :raises ParameterError: for an unknown name or a value that cannot be used.
    """
    known = {item.name: item for item in declarations(config)}
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ParameterError(f'{unknown[0]}: no such parameter')
    checked = {name: check(known[name], value) for name, value in values.items()}
    return _build(config, checked, '')


def _build(config: type[T], values: Mapping[str, Any], prefix: str) -> T:
    hints = typing.get_type_hints(config)
    arguments: dict[str, Any] = {}
    for item in dataclasses.fields(typing.cast(Any, config)):
        kind = hints[item.name]
        if dataclasses.is_dataclass(kind) and not isinstance(kind, types.GenericAlias):
            arguments[item.name] = _build(typing.cast(type, kind), values, f'{prefix}{item.name}.')
        elif prefix + item.name in values:
            arguments[item.name] = values[prefix + item.name]
    return config(**arguments)
