"""An action server as the rung of a ladder, in the manner of Nav2 and MoveIt.

It stands in for one of theirs, with the only action type that is sure to be here: ours.
"""

import time

import rclpy
from rclpy.action import ActionServer
from rclpy.action.server import ServerGoalHandle
from rclpy.executors import ExternalShutdownException

from progress_monitor.action import MonitorTask


def move(handle: ServerGoalHandle) -> MonitorTask.Result:
    """Move home and say how far it is."""
    for tenth in range(10):
        handle.publish_feedback(MonitorTask.Feedback(progress=tenth / 10, step=handle.request.task))
        time.sleep(0.05)
    handle.succeed()
    return MonitorTask.Result(succeeded=True, progress=1.0)


def main() -> None:
    """Serve until interrupted."""
    rclpy.init()
    node = rclpy.create_node('arm')
    server = ActionServer(node, MonitorTask, '/arm/home', move)
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        server.destroy()


if __name__ == '__main__':
    main()
