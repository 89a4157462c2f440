"""Second phase: the language model learns to answer from what the sighted tower sees.

The tower is frozen, so every frame's features are computed once and kept.

    python -m progress_monitor_lab.training.train_language EPISODES RUN CHECKPOINT --minutes 40
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import AutoTokenizer, Qwen3VLForConditionalGeneration

from progress_monitor.types import Frame, Generate, Request
from progress_monitor.vlm.images import ImageFormat
from progress_monitor.vlm.prompt import PromptBuilder
from progress_monitor_lab.training.clock import Clock
from progress_monitor_lab.training.data import Corpus, augment, load
from progress_monitor_lab.training.samples import Sample, Sampler
from progress_monitor_lab.training.tower import batch_attention, features

TOKENS_OF_BATCH = 4200
LONGEST_TEXT = 150
DIGIT_WEIGHT = 2.0
CHECKPOINT_STEPS = 400


@dataclass(frozen=True, eq=False)
class Batch:
    """Right-padded samples: ids (b, n), positions (3, b, n), targets and weights (b, n)."""

    ids: torch.Tensor
    positions: torch.Tensor
    frames: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor


class Collator:
    """Samples to token ids through the same prompt builder that the monitor uses."""

    def __init__(self, folder: Path) -> None:
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        layout = ImageFormat.read(folder / 'preprocessor_config.json')
        self._builder = PromptBuilder(self._tokenizer, layout)
        blank = np.zeros((128, 128, 3), np.uint8)
        self._blanks = tuple(Frame(index, 'camera', index, blank) for index in range(17))
        self.image_id = self._tokenizer.convert_tokens_to_ids('<|image_pad|>')
        self._end = self._tokenizer.convert_tokens_to_ids('<|im_end|>')
        self.digits = torch.tensor(
            [self._tokenizer.convert_tokens_to_ids(digit) for digit in '0123456789']
        )

    def __call__(self, samples: list[Sample]) -> Batch:
        rows = [self._row(sample) for sample in samples]
        longest = max(len(ids) for ids, _, _ in rows)
        shape = (len(rows), longest)
        ids, targets = torch.zeros(shape, dtype=torch.long), torch.full(shape, -100)
        positions = torch.zeros((3, *shape), dtype=torch.long)
        for number, (row, places, answer) in enumerate(rows):
            ids[number, : len(row)] = torch.tensor(row)
            positions[:, number, : len(row)] = torch.from_numpy(places)
            start = len(row) - answer
            targets[number, start - 1 : len(row) - 1] = ids[number, start : len(row)]
        weights = torch.where(torch.isin(targets, self.digits), DIGIT_WEIGHT, 1.0)
        frames = torch.tensor([index for sample in samples for index in sample.frames])
        return Batch(ids, positions, frames, targets, weights)

    def _row(self, sample: Sample) -> tuple[list[int], np.ndarray, int]:
        tokens = self._builder.build(
            Request(0, '', (*self._blanks[: len(sample.frames)], sample.text), Generate())
        )
        said = [*self._tokenizer.encode(sample.answer, add_special_tokens=False), self._end]
        after = tokens.next_position + np.arange(len(said))
        places = np.concatenate([tokens.positions, np.tile(after, (3, 1))], axis=1)
        return [*tokens.ids.tolist(), *said], places, len(said)


def answer_logits(model: Any, batch: Batch, seen: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Logits, targets and weights at the positions of the answers."""
    embeds = model.model.language_model.embed_tokens(batch.ids)
    images = batch.ids == model.config.image_token_id
    picked = seen[batch.frames].float()
    layers = [picked[:, layer].flatten(0, 1) for layer in range(picked.shape[1])]
    embeds = embeds.masked_scatter(images.unsqueeze(-1), layers[0])
    hidden = model.model.language_model(
        inputs_embeds=embeds,
        position_ids=batch.positions,
        visual_pos_masks=images,
        deepstack_visual_embeds=layers[1:],
        use_cache=False,
    ).last_hidden_state
    answers = batch.targets >= 0
    return model.lm_head(hidden[answers]), batch.targets[answers], batch.weights[answers]


@torch.no_grad()
def see_all(model: Any, corpus: Corpus, vary: bool) -> torch.Tensor:
    """Features of every frame, float16; with ``vary`` half of them under another light."""
    generator = torch.Generator().manual_seed(1)
    parts = []
    for images in torch.from_numpy(corpus.images).split(128):
        pictures = images.float()
        if vary:
            chosen = torch.rand(len(images), generator=generator) < 0.5
            if bool(chosen.any()):
                pictures[chosen] = augment(images[chosen], generator)
        parts.append(features(model, pictures).half())
    return torch.cat(parts)


@torch.no_grad()
def validate(model: Any, collate: Collator, corpus: Corpus, seen: torch.Tensor) -> str:
    """Share of right tokens and wrong first digits on held-out episodes, answers given."""
    sampler = Sampler(corpus, 5)
    right = total = tens = 0
    error = 0.0
    for count in (1, 5, 9, 13, 17):
        batch = collate([sampler.draw(count) for _ in range(24)])
        logits, targets, _ = answer_logits(model, batch, seen)
        guess = logits.argmax(-1)
        right += int((guess == targets).sum())
        total += len(targets)
        digit = torch.isin(targets, collate.digits)
        first = (
            digit
            & ~torch.isin(targets.roll(1), collate.digits)
            & torch.isin(targets.roll(-1), collate.digits)
        )
        error += float((guess[first] - targets[first]).abs().float().sum())
        tens += int(first.sum())
    return f'tokens right {right / total:.4f} first digit off by {error / max(tens, 1):.3f}'


def write(model: Any, source: Path, folder: Path) -> None:
    """Write the checkpoint in bfloat16, in the ordinary Hugging Face layout."""
    folder.mkdir(parents=True, exist_ok=True)
    copy = Qwen3VLForConditionalGeneration(model.config)
    copy.load_state_dict(model.state_dict())
    copy.generation_config = model.generation_config
    copy.to(torch.bfloat16).save_pretrained(folder)
    for name in (
        'tokenizer.json',
        'tokenizer_config.json',
        'preprocessor_config.json',
        'chat_template.jinja',
        'special_tokens_map.json',
    ):
        if (source / name).exists():
            shutil.copy(source / name, folder / name)
    config = json.loads((folder / 'config.json').read_text(encoding='utf-8'))
    config['_name_or_path'] = ''
    (folder / 'config.json').write_text(json.dumps(config, indent=2) + '\n', encoding='utf-8')


def main() -> None:
    """Train until the budget is spent; an interrupted run goes on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('episodes', type=Path)
    parser.add_argument('run', type=Path)
    parser.add_argument('checkpoint', type=Path, help='folder to write the checkpoint to')
    parser.add_argument('--start', type=Path, help='checkpoint to go on from, not RUN/sighted')
    parser.add_argument('--minutes', type=float, default=40.0)
    parser.add_argument('--rate', type=float, default=1.5e-3)
    arguments = parser.parse_args()
    train = load(arguments.episodes, held_out=False)
    held_out = load(arguments.episodes, held_out=True)
    source = arguments.start or arguments.run / 'start'
    collate = Collator(source)
    model: Any = Qwen3VLForConditionalGeneration.from_pretrained(
        arguments.start or arguments.run / 'sighted', dtype=torch.float32
    )
    arguments.run.mkdir(parents=True, exist_ok=True)
    batch_attention(model)
    seen, unseen = see_all(model, train, vary=True), see_all(model, held_out, vary=False)
    print(f'{len(seen)} frames seen', flush=True)
    parameters = list(model.model.language_model.parameters())
    optimizer = torch.optim.AdamW(
        parameters, lr=arguments.rate, weight_decay=0.05, betas=(0.9, 0.98)
    )
    clock = Clock(arguments.run / 'language.pt', arguments.minutes)
    state = clock.resume()
    if state:
        model.model.language_model.load_state_dict(state['language'])
        optimizer.load_state_dict(state['optimizer'])
    sampler = Sampler(train, int(clock.share * 1e6))
    step, recent = 0, []
    while clock.share < 1.0:
        count = sampler.frames_of_batch()
        size = max(TOKENS_OF_BATCH // (count * 18 + LONGEST_TEXT), 1)
        batch = collate([sampler.draw(count) for _ in range(size)])
        logits, targets, weights = answer_logits(model, batch, seen)
        losses = nn.functional.cross_entropy(logits, targets, reduction='none')
        loss = (losses * weights).sum() / weights.sum()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        for group in optimizer.param_groups:
            group['lr'] = clock.rate(arguments.rate)
        optimizer.step()
        recent.append(float(loss))
        step += 1
        if step % 100 == 0:
            said = validate(model, collate, held_out, unseen) if step % 300 == 0 else ''
            print(f'{clock.share:.3f} step {step} loss {np.mean(recent):.4f} {said}', flush=True)
            recent = []
        clock.save(
            {
                'language': model.model.language_model.state_dict(),
                'optimizer': optimizer.state_dict(),
            }
        )
        if step % CHECKPOINT_STEPS == 0:
            write(model, source, arguments.checkpoint)
    print(validate(model, collate, held_out, unseen), flush=True)
    write(model, source, arguments.checkpoint)


if __name__ == '__main__':
    main()
