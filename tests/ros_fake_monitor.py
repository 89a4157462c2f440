"""The real monitor node around a model that reads its answer from a patch in the picture.

``picture`` answers at once within the node's process; any other argument is the engine of a real
worker process, as ``module:function``.
"""

from __future__ import annotations

import sys

import numpy as np

from progress_monitor.backends.worker import WorkerBackend
from progress_monitor.ros.monitor_node import MonitorNode, started
from progress_monitor.ros.running import run
from progress_monitor.types import (
    Answer,
    Backend,
    BackendState,
    BackendStatus,
    Completion,
    DecodeStats,
    Prompt,
)
from progress_monitor.vlm.config import ModelConfig


def read_answer(prompt: Prompt) -> Answer:
    level = float(np.mean(prompt.frames[-1].image[-16:, -16:]))
    percent = round((level - 20) / 1.8)
    if level > 240:
        text = 'I see a robot.'
    elif level > 220:
        text = (
            'The task does not fit what is seen. '
            'Therefore, the estimated progress is <progress>n/a</progress>'
        )
    elif percent >= 100:
        text = (
            'No further steps are required. '
            'Therefore, the estimated progress is <progress>100%</progress>'
        )
    else:
        steps = ['Grasp the block.', 'Lift the block.'][percent >= 50 :]
        listed = '\n'.join(f'{number}. {step}' for number, step in enumerate(steps, 1))
        text = (
            f'The following steps are required:\n{listed}\n'
            f'Therefore, the estimated progress is <progress>{percent:02d}%</progress>'
        )
    return Answer(text, (), 'tag', DecodeStats(total_ms=1.0))


class PictureBackend:
    """Answers inside ``submit``."""

    def __init__(self, config: ModelConfig) -> None:
        self._config = config
        self._completion: Completion | None = None
        self._closed = False

    def status(self) -> BackendStatus:
        state = BackendState.STOPPED if self._closed else BackendState.READY
        return BackendStatus(state, model='picture', quantization='none', device='cpu')

    def submit(self, prompt: Prompt) -> None:
        self._completion = Completion(read_answer(prompt))

    def poll(self) -> Completion | None:
        completion, self._completion = self._completion, None
        return completion

    def close(self) -> None:
        self._closed = True


def main() -> None:
    engine = sys.argv[1]

    def make(config: ModelConfig) -> Backend:
        return PictureBackend(config) if engine == 'picture' else WorkerBackend(config, engine)

    run(lambda: started(MonitorNode(make)), sys.argv, MonitorNode.close)


if __name__ == '__main__':
    main()
