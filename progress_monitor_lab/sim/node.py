"""The simulated cell as a ROS 2 node: a camera, the truth about the task, and a replan service."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from builtin_interfaces.msg import Time
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from progress_monitor.msg import GroundTruth, MonitorStatus
from progress_monitor.parameters import ParameterError, parameter
from progress_monitor.ros import ros_parameters
from progress_monitor.ros.messages import image_message, to_ns
from progress_monitor.ros.running import run
from progress_monitor.types import State
from progress_monitor_lab.sim.cell import FAULTS, STEP_PERIOD_S, TASKS, CellStep, Workcell

FRAME_ID = 'cell_camera'
# Reliable, so that any subscriber matches; depth 1, so that a slow one never gets an old picture.
_IMAGE_QOS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.RELIABLE
)
_LATCHED = QoSProfile(
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
_TRUTH_DEPTH = 20
_NOT_READY = (State.UNKNOWN, State.IDLE, State.LOADING, State.ERROR)


@dataclass(frozen=True)
class CellConfig:
    """Parameters of the node ``cell``, read once at start."""

    task: str = parameter('pick_place', 'What the robot does.', choices=tuple(TASKS))
    seed: int = parameter(0, 'Decides the scene, the camera, the light and the noise.', minimum=0)
    fault: str = parameter('none', 'What goes wrong.', choices=FAULTS)
    fault_at: float = parameter(
        -1.0,
        'Progress at which the fault begins, 0..1; below 0: drawn from the seed.',
        minimum=-1.0,
        maximum=1.0,
    )
    speed: float = parameter(1.0, "Share of the robot's full speed.", above=0.0, maximum=1.0)
    image_size: int = parameter(
        256, 'Width and height of the picture, pixels.', minimum=64, maximum=1024
    )
    wait_for: str = parameter(
        '',
        'Name of a monitor node: the robot starts when its model is loaded, and no earlier. '
        'Empty: the robot starts at once.',
    )


class CellNode(Node):
    """Lets the workcell act in real time, one control period per 0.1 s.

    Publishes ``~/image`` (rgb8) and ``~/ground_truth`` with one stamp, the ROS time at which the
    picture was taken, and offers ``~/replan``. A period that comes too late is left out: the robot
    then takes a little longer, and no picture waits in a queue.

    :raises ParameterError: for a value that cannot be used.
    :raises ValueError: for a fault that cannot happen to the task.
    """

    def __init__(self) -> None:
        super().__init__('cell')
        ros_parameters.declare(
            self,
            CellConfig,
            locked=lambda name: 'read at start only; start the cell anew',
            accept=lambda config: None,
        )
        config = ros_parameters.read(self, CellConfig)
        self._config = config
        self._cell = Workcell(
            task=config.task,
            seed=config.seed,
            speed=config.speed,
            fault=config.fault,
            image_size=config.image_size,
            fault_at=config.fault_at if config.fault_at >= 0.0 else None,
        )
        self._replans = 0
        self._fault = ''
        self._images = self.create_publisher(Image, '~/image', _IMAGE_QOS)
        self._truths = self.create_publisher(GroundTruth, '~/ground_truth', _TRUTH_DEPTH)
        self.create_service(Trigger, '~/replan', self._replan)
        self._started = False
        if config.wait_for.strip():
            status = f'{config.wait_for.strip()}/status'
            self.create_subscription(MonitorStatus, status, self._on_status, _LATCHED)
            self.get_logger().info(f'waits until {status} says that the model is loaded')
        else:
            self._start()

    def close(self) -> None:
        """Give the renderer back and destroy the node."""
        self._cell.close()
        self.destroy_node()

    def _on_status(self, message: MonitorStatus) -> None:
        if State(message.state) not in _NOT_READY:
            self._start()

    def _start(self) -> None:
        if self._started:
            return
        self._started = True
        self.create_timer(STEP_PERIOD_S, self._step)
        config = self._config
        self.get_logger().info(f'{TASKS[config.task].instruction} (fault: {config.fault})')

    def _step(self) -> None:
        stamp = self.get_clock().now().to_msg()
        step = self._cell.step()
        self._images.publish(image_message(step.image, to_ns(stamp), FRAME_ID))
        self._truths.publish(self._truth_message(step, stamp))
        if step.truth.fault != self._fault:
            self._fault = step.truth.fault
            self.get_logger().info(f'fault: {self._fault or "none any more"}')

    def _truth_message(self, step: CellStep, stamp: Time) -> GroundTruth:
        truth = step.truth
        return GroundTruth(
            stamp=stamp,
            task=self._config.task,
            instruction=TASKS[self._config.task].instruction,
            progress=truth.progress,
            stage=truth.stage,
            remaining_steps=list(truth.remaining_steps),
            done=truth.done,
            fault=truth.fault,
            replans=self._replans,
            step=step.index,
        )

    def _replan(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._cell.replan()
        self._replans += 1
        self.get_logger().info(f'replan {self._replans}: starts over from the present state')
        response.success = True
        response.message = 'the robot starts over from the present state'
        return response


def main() -> int:
    """Run the node until it is interrupted; 2 if a parameter cannot be used."""
    try:
        run(CellNode, close=CellNode.close)
    except (ParameterError, ValueError) as error:
        print(f'cell: {error}', file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
