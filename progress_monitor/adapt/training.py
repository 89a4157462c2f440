"""LoRA on a frozen checkpoint: a loop that can be interrupted and goes on where it was."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from tqdm import tqdm

from progress_monitor.adapt.batches import Batch, Collator, Eyes, answer_losses
from progress_monitor.adapt.recipe import VISION, Recipe
from progress_monitor.adapt.samples import Sample
from progress_monitor.vlm.loading import VLM

STATE = 'training_state.safetensors'
# What the text reads must not move faster than the text can follow.
TOWER, TOWER_RATE = '.visual.', 0.1
Draw = Callable[[int, np.random.Generator], Sample]


class TrainingError(ValueError):
    """A training cannot go on. The message says what to do."""


@dataclass
class Course:
    """How far a training has come; ``losses`` are (step, held-out loss)."""

    key: str
    step: int
    best: float
    best_step: int
    losses: list[tuple[int, float]]
    ended: bool = False


class Trainer:
    """Trains the adapter of a model.

    ``model`` is the checkpoint's with the adapter's layers in it, to be asked as before.
    """

    def __init__(
        self, vlm: VLM, recipe: Recipe, folder: Path, vision: bool, seed: int, key: str
    ) -> None:
        """Put fresh layers on ``vlm``'s model, or those of an interrupted training in ``folder``.

        :param vision: adapt the vision tower as well.
        :param key: what the training depends on besides the recipe.
        :raises TrainingError: if what lies in ``folder`` belongs to another training.
        """
        from peft import LoraConfig, get_peft_model

        torch.manual_seed(seed)
        targets = [*recipe.targets, *(VISION if vision else ())]
        self.config = LoraConfig(
            r=recipe.rank,
            lora_alpha=recipe.alpha,
            lora_dropout=recipe.dropout,
            bias='none',
            target_modules=targets,
            task_type='CAUSAL_LM',
        )
        self._peft: Any = get_peft_model(vlm.model, self.config)
        self.model: Any = self._peft.base_model.model
        self._recipe, self._folder, self._seed = recipe, folder, seed
        self._collate = Collator(vlm, recipe.telling_weight, recipe.spread)
        self._parameters = {
            name: value for name, value in self._peft.named_parameters() if value.requires_grad
        }
        tower = {name: value for name, value in self._parameters.items() if TOWER in name}
        text = [value for name, value in self._parameters.items() if name not in tower]
        groups = [{'params': text, 'share': 1.0}]
        if tower:
            groups.append({'params': [*tower.values()], 'share': TOWER_RATE})
        self._optimizer = torch.optim.AdamW(
            groups, lr=recipe.rate, weight_decay=recipe.weight_decay
        )
        if recipe.checkpointing:
            self.model.gradient_checkpointing_enable({'use_reentrant': False})
        digest = hashlib.sha256(json.dumps([asdict(recipe), targets, seed, key]).encode())
        self.course = Course(digest.hexdigest()[:16], 0, math.inf, 0, [])
        self._best: dict[str, torch.Tensor] = {}
        self._mean = {name: value.detach().clone() for name, value in self._parameters.items()}
        self._resume()

    def run(
        self,
        draw: Draw,
        frames: Callable[[np.random.Generator], int],
        held_out: Sequence[Sample],
        eyes: Eyes,
    ) -> Course:
        """Train to the end, or until the held-out loss falls no more; the best layers stay.

        :param draw: makes a sample with a window of a length that ``frames`` gives.
        :param held_out: samples that ``draw`` never makes.
        """
        recipe, course = self._recipe, self.course
        bar = tqdm(total=recipe.steps, initial=course.step, desc='adapting', unit='step')
        while not course.ended:
            loss = self._step(draw, frames, eyes)
            course.step += 1
            bar.update()
            held = {'held_out': f'{course.best:.3f}'} if course.losses else {}
            bar.set_postfix(loss=f'{loss:.3f}', **held)
            if course.step % recipe.read_every == 0 or course.step == recipe.steps:
                self._read(held_out, eyes)
                self._save()
        bar.close()
        self._put(self._best)
        self._peft.eval()
        return course

    def tensors(self) -> dict[str, torch.Tensor]:
        """The adapter's weights under PEFT's names."""
        from peft import get_peft_model_state_dict

        found = get_peft_model_state_dict(self._peft)
        return {name: value.detach().cpu().contiguous() for name, value in found.items()}

    def _step(self, draw: Draw, frames: Callable[[np.random.Generator], int], eyes: Eyes) -> float:
        recipe, step = self._recipe, self.course.step
        # By the step alone, so that a training that goes on is the one that was interrupted.
        rng = np.random.default_rng([self._seed, step])
        torch.manual_seed(int(rng.integers(2**31)))
        self._peft.train()
        for group in self._optimizer.param_groups:
            whole = recipe.rate * group['share']
            group['lr'] = whole * _share(step, recipe.steps, recipe.warm_up)
        self._optimizer.zero_grad()
        parts = max(recipe.batch // recipe.at_once, 1)
        losses = []
        for _ in range(parts):
            count = frames(rng)
            batch = self._collate([draw(count, rng) for _ in range(recipe.at_once)])
            each, weights = self._losses(batch, eyes)
            loss = (each * weights).sum() / weights.sum()
            (loss / parts).backward()
            losses.append(float(loss.detach()))
        nn.utils.clip_grad_norm_(list(self._parameters.values()), 1.0)
        self._optimizer.step()
        with torch.no_grad():
            for name, value in self._parameters.items():
                self._mean[name].lerp_(value, 1 / min(step + 1, recipe.averaged))
        return float(np.mean(losses))

    def _losses(self, batch: Batch, eyes: Eyes) -> tuple[torch.Tensor, torch.Tensor]:
        seen = eyes.see(batch.pictures, batch.newest, blurred=self._peft.training)
        return answer_losses(self.model, batch, seen, self._collate.digits)

    def _read(self, held_out: Sequence[Sample], eyes: Eyes) -> None:
        course, recipe = self.course, self._recipe
        self._peft.eval()
        now = {name: value.detach().clone() for name, value in self._parameters.items()}
        self._put(self._mean)
        total = weight = 0.0
        with torch.no_grad():
            for first in range(0, len(held_out), recipe.at_once):
                batch = self._collate(held_out[first : first + recipe.at_once])
                each, weights = self._losses(batch, eyes)
                total += float((each * weights).sum())
                weight += float(weights.sum())
        loss = total / max(weight, 1.0)
        course.losses.append((course.step, loss))
        if loss < course.best:
            course.best, course.best_step = loss, course.step
            self._best = {name: value.clone() for name, value in self._mean.items()}
        self._put(now)
        late = course.step - course.best_step >= recipe.patience * recipe.read_every
        course.ended = late or course.step >= recipe.steps

    def _put(self, values: dict[str, torch.Tensor]) -> None:
        with torch.no_grad():
            for name, value in values.items():
                self._parameters[name].copy_(value)

    def _save(self) -> None:
        """Write all that the training needs to go on, at once or not at all."""
        state: dict[str, torch.Tensor] = {}
        for name, value in self._parameters.items():
            kept = self._optimizer.state.get(value, {})
            best, mean = self._best.get(name, value), self._mean[name]
            parts = {'now': value, 'mean': mean, 'best': best, **kept}
            for part, tensor in parts.items():
                state[f'{part}/{name}'] = tensor.detach().clone().cpu().contiguous()
        self._folder.mkdir(parents=True, exist_ok=True)
        new = self._folder / f'.{STATE}'
        save_file(state, new, {'course': json.dumps(asdict(self.course))})
        new.replace(self._folder / STATE)

    def _resume(self) -> None:
        path = self._folder / STATE
        if not path.is_file():
            return
        from safetensors import safe_open

        with safe_open(path, 'pt') as file:
            course = Course(**json.loads(file.metadata()['course']))
        if course.key != self.course.key:
            raise TrainingError(
                f'{path}: an interrupted training with other settings or other data; remove it, '
                'or give another --out'
            )
        self.course = course
        state = load_file(path)
        with torch.no_grad():
            for name, value in self._parameters.items():
                value.copy_(state[f'now/{name}'])
                self._mean[name] = state[f'mean/{name}'].to(value)
                self._best[name] = state[f'best/{name}'].to(value)
                self._optimizer.state[value] = {
                    part: state[f'{part}/{name}'].to(value if part != 'step' else 'cpu')
                    for part in ('step', 'exp_avg', 'exp_avg_sq')
                }


def _share(step: int, steps: int, warm_up: float) -> float:
    """Share of the highest rate: a linear rise, then linearly down to nothing."""
    rise = max(warm_up * steps, 1.0)
    return min((step + 1) / rise, (steps - step) / max(steps - rise, 1.0))
