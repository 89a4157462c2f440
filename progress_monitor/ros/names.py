"""Names of topics, services and nodes that users give."""

from __future__ import annotations

from rclpy.exceptions import NameValidationException
from rclpy.node import Node
from rclpy.validate_topic_name import validate_topic_name

from progress_monitor.parameters import ParameterError
from progress_monitor.ros.running import in_one_line


def full_name(node: Node, where: str, name: str, *, service: bool = False) -> str:
    """The name in full, with namespace and remapping.

    :param where: what gives the name: a parameter, or an entry of a file.
    :raises ParameterError: naming ``where``, if it is no name.
    """
    resolve = node.resolve_service_name if service else node.resolve_topic_name
    try:
        validate_topic_name(name, is_service=service)
        return str(resolve(name))
    except NameValidationException as error:
        reason = error.args[0] if error.args else str(error)
        raise _no_name(where, name, str(reason)) from error
    except (RuntimeError, ValueError) as error:  # what only the middleware finds
        raise _no_name(where, name, str(error)) from error


def _no_name(where: str, name: str, reason: str) -> ParameterError:
    return ParameterError(f'{where}: {name!r}: {in_one_line(reason)}')
