"""The log of the rooms that know no ROS, in the node's log."""

from __future__ import annotations

import logging

from rclpy.node import Node

from progress_monitor.printable import printable


class RosLogHandler(logging.Handler):
    """Passes records on to the logger of ``node``, from ``attach`` to ``detach``."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self._logger = node.get_logger()
        self._room = logging.getLogger('progress_monitor')

    def attach(self) -> None:
        """Begin to pass on."""
        self._room.setLevel(logging.INFO)
        self._room.addHandler(self)

    def detach(self) -> None:
        """Cease to."""
        self._room.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        text = printable(record.getMessage())
        # rclpy keeps one severity per line of code that logs, hence a call for each.
        if record.levelno >= logging.ERROR:
            self._logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(text)
        else:
            self._logger.info(text)
