"""The real monitor node around a model that reads its answer from a patch in the picture.

Recurrent reasoning is told what it was asked, as its thought. ``picture`` answers at once within
the node's process; any other argument is the engine of a real worker process, as
``module:function``.
"""

from __future__ import annotations

import sys

import numpy as np
from synchronous import SynchronousBackend, generated, text_of

from progress_monitor.backends.worker import WorkerBackend
from progress_monitor.node_config import NodeConfig
from progress_monitor.ros.monitor_node import MonitorNode, started
from progress_monitor.ros.running import run
from progress_monitor.types import Backend, Generated, Request


def read_answer(request: Request) -> Generated:
    level = float(np.mean(request.frames[-1].image[-16:, -16:]))
    percent = round((level - 20) / 1.8)
    if request.session == 'recurrent':
        asked = text_of(request).partition('Update it')[0]
        return generated(f'<think>{asked}</think><answer>{percent}%</answer>')
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
    return generated(text)


class PictureBackend(SynchronousBackend):
    """Answers from the picture, inside ``submit``."""

    model = 'picture'

    def answer(self, request: Request) -> Generated:
        return read_answer(request)


def main() -> None:
    engine = sys.argv[1]

    def make(config: NodeConfig) -> Backend:
        if engine == 'broken':
            raise OSError('no room for frames')
        return PictureBackend() if engine == 'picture' else WorkerBackend(config.model, engine)

    run(lambda: started(MonitorNode(make)), sys.argv, MonitorNode.close, MonitorNode.end)


if __name__ == '__main__':
    main()
