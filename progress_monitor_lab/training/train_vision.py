"""First phase: the vision tower learns to see poses, stage and progress in single frames.

The language loss alone teaches sentences and hardly any sight. A head that is thrown away later
regresses hand, item, target and gripper, and each task's progress and stage.

    python -m progress_monitor_lab.training.train_vision EPISODES RUN --minutes 12
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import Qwen3VLForConditionalGeneration

from progress_monitor.vlm.tiny import SMALL_TEXT, SMALL_VISION, make_checkpoint
from progress_monitor_lab.sim.tasks import TASKS
from progress_monitor_lab.training.answers import corpus as sentences
from progress_monitor_lab.training.clock import Clock
from progress_monitor_lab.training.data import TASK_NAMES, Corpus, augment, load
from progress_monitor_lab.training.tower import batch_attention, features

BATCH = 64
STAGES = 6
POSES = 10
# What a single frame cannot tell: how far a task in several phases has come.
REMEMBERING = torch.tensor([len(TASKS[name].phases) > 1 for name in TASK_NAMES])


class Head(nn.Module):
    """Everything the tower shall see, from all its features of a frame."""

    def __init__(self, layers: int, tokens: int, hidden: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(layers * tokens * hidden, 256), nn.GELU())
        self.pose = nn.Linear(256, POSES)
        self.progress = nn.Linear(256, len(TASK_NAMES))
        self.stage = nn.Linear(256, len(TASK_NAMES) * STAGES)
        self.scene = nn.Linear(256, len(TASK_NAMES))

    def forward(self, seen: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Pose, progress per task, stage logits per task, and which task's scene it is."""
        hidden = self.body(seen.flatten(1))
        stage = self.stage(hidden).reshape(len(hidden), len(TASK_NAMES), STAGES)
        return self.pose(hidden), self.progress(hidden), stage, self.scene(hidden)


class Targets:
    """Truth of every frame, poses normalised."""

    def __init__(self, corpus: Corpus, mean: np.ndarray, std: np.ndarray) -> None:
        self.images = torch.from_numpy(corpus.images)
        self.pose = torch.from_numpy((corpus.pose - mean) / std).float()
        self.progress = torch.from_numpy(np.asarray(corpus.of_frame('progress'))).float()
        self.stage = torch.from_numpy(np.asarray(corpus.of_frame('stage'))).clamp(max=STAGES - 1)
        self.task = torch.from_numpy(corpus.task_of_frame())


def losses(
    outputs: tuple[torch.Tensor, ...], targets: Targets, index: torch.Tensor
) -> tuple[torch.Tensor, float]:
    """The loss of a batch, and its mean error of progress in points."""
    pose, progress, stage, scene = outputs
    task = targets.task[index]
    rows = torch.arange(len(index))
    known = ~REMEMBERING[task]
    error = (progress[rows, task] - targets.progress[index])[known]
    loss = nn.functional.smooth_l1_loss(pose, targets.pose[index])
    loss = loss + 4.0 * nn.functional.smooth_l1_loss(error, torch.zeros_like(error), beta=0.1)
    stages = nn.functional.cross_entropy(stage[rows, task][known], targets.stage[index][known])
    loss = loss + 0.3 * stages + 0.1 * nn.functional.cross_entropy(scene, task)
    return loss, float(error.detach().abs().mean()) * 100


@torch.no_grad()
def validate(model: Any, head: Head, targets: Targets) -> float:
    """Mean error of progress on held-out episodes, in points."""
    errors = []
    for index in torch.arange(0, len(targets.images), 2).split(256):
        outputs = head(features(model, targets.images[index]))
        errors.append(losses(outputs, targets, index)[1])
    return float(np.mean(errors))


def main() -> None:
    """Train until the budget is spent; an interrupted run goes on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('episodes', type=Path)
    parser.add_argument('run', type=Path)
    parser.add_argument('--minutes', type=float, default=12.0)
    parser.add_argument('--rate', type=float, default=1e-3)
    arguments = parser.parse_args()
    train, held_out = (
        load(arguments.episodes, held_out=False),
        load(arguments.episodes, held_out=True),
    )
    mean, std = train.pose.mean(0), train.pose.std(0) + 1e-3
    targets, unseen = Targets(train, mean, std), Targets(held_out, mean, std)
    checkpoint = arguments.run / 'start'
    if not checkpoint.exists():
        make_checkpoint(
            checkpoint, SMALL_TEXT, SMALL_VISION, sentences=sentences(), vocabulary=1024
        )
    model: Any = Qwen3VLForConditionalGeneration.from_pretrained(checkpoint)
    batch_attention(model)
    visual = model.model.visual
    head = Head(1 + len(visual.deepstack_visual_indexes), 16, SMALL_TEXT['hidden_size'])
    parameters = [*visual.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=arguments.rate, weight_decay=0.02)
    clock = Clock(arguments.run / 'vision.pt', arguments.minutes)
    state = clock.resume()
    if state:
        visual.load_state_dict(state['visual'])
        head.load_state_dict(state['head'])
        optimizer.load_state_dict(state['optimizer'])
    generator = torch.Generator().manual_seed(int(clock.share * 1e6))
    step, recent = 0, []
    while clock.share < 1.0:
        index = torch.randint(0, len(targets.images), (BATCH,), generator=generator)
        outputs = head(features(model, augment(targets.images[index], generator)))
        loss, error = losses(outputs, targets, index)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        for group in optimizer.param_groups:
            group['lr'] = clock.rate(arguments.rate)
        optimizer.step()
        recent.append(error)
        step += 1
        if step % 100 == 0:
            mean_error = np.mean(recent)
            print(f'{clock.share:.3f} step {step} loss {float(loss):.3f} error {mean_error:.2f}')
            recent = []
        if step % 500 == 0:
            print(f'held out {validate(model, head, unseen):.2f}', flush=True)
        clock.save(
            {
                'visual': visual.state_dict(),
                'head': head.state_dict(),
                'optimizer': optimizer.state_dict(),
            }
        )
    print(f'held out {validate(model, head, unseen):.2f}', flush=True)
    model.save_pretrained(arguments.run / 'sighted')


if __name__ == '__main__':
    main()
