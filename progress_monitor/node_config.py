"""Every parameter of the monitor node: the monitor's own, the model's and the node's."""

from __future__ import annotations

from dataclasses import dataclass, field

from progress_monitor.backends.server_config import ServerConfig
from progress_monitor.config import MonitorConfig
from progress_monitor.parameters import parameter
from progress_monitor.vlm.config import ModelConfig


@dataclass(frozen=True)
class NodeConfig(MonitorConfig):
    """Parameters of the node ``progress_monitor``, named as ROS names them."""

    model: ModelConfig = field(default_factory=ModelConfig)
    server: ServerConfig = field(default_factory=ServerConfig)
    backend: str = parameter(
        'worker',
        'Where the model runs: worker (a process on this machine, by model.*) or openai (a server '
        'with the OpenAI interface, by server.*).',
        choices=('worker', 'openai'),
    )
    image_topics: tuple[str, ...] = parameter(
        ('/camera/color/image_raw',),
        'Camera topics, sensor_msgs/Image or CompressedImage, told apart by what is published. '
        'With several, a sample holds one frame of each, in this order.',
    )
    max_image_pixels: int = parameter(
        64_000_000,
        'Largest picture that is read, width x height. A larger one is refused by its header, '
        'before it is decoded.',
        minimum=1024,
        maximum=1_000_000_000,
    )
    task: str = parameter(
        '', 'Task to watch from the start, in words. Empty: IDLE until ~/set_task or a goal.'
    )
    autostart: bool = parameter(
        True,
        'Configure and activate at start. Set false where a lifecycle manager does that.',
    )
    goal_patience_s: float = parameter(
        30.0,
        'A goal of ~/monitor_task ends with MODEL_FAILED or INPUT_FAILED when the model or the '
        'images have been missing for so long, s of the ROS clock.',
        above=0.0,
        maximum=3600.0,
    )
    marker_frame: str = parameter(
        '', "Frame of ~/markers, for example base_link. Empty: the first camera's frame."
    )
