"""A learned policy's server that replans on a Trigger: it drops its plan and starts over."""

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from std_srvs.srv import Trigger


class PolicyServer(Node):
    """Acts by chunks of actions; ``/robot/replan`` throws the present chunk away."""

    def __init__(self) -> None:
        super().__init__('policy_server')
        self._chunk: list[str] = []
        self._chunks = 0
        self.create_service(Trigger, '/robot/replan', self._replan)
        self.create_timer(0.1, self._act)

    def _act(self) -> None:
        if not self._chunk:
            self._chunks += 1
            self._chunk = [f'action {number} of chunk {self._chunks}' for number in range(50)]
        self._chunk.pop(0)

    def _replan(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        dropped = len(self._chunk)
        self._chunk = []
        response.success = True
        response.message = f'{dropped} actions are dropped; a new chunk is asked for'
        return response


def main() -> None:
    """Serve until interrupted."""
    rclpy.init()
    try:
        rclpy.spin(PolicyServer())
    except (KeyboardInterrupt, ExternalShutdownException):
        pass


if __name__ == '__main__':
    main()
