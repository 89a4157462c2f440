"""Second phase: the language model learns to answer from what the sighted tower sees.

The tower is frozen, so every frame's features are computed once and kept. With ``--teacher``
half of the loss in ProcVLM's form is what that checkpoint says of the undisturbed pictures: what
was known is kept (arXiv 1606.09282), and disturbed cameras are stood (arXiv 1911.04252).

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

from progress_monitor.adapt.batches import Row, Rows
from progress_monitor.types import Frame, Generate, Request
from progress_monitor.vlm.images import ImageFormat
from progress_monitor.vlm.prompt import PromptBuilder
from progress_monitor_lab.training.clock import Clock
from progress_monitor_lab.training.data import Corpus, augment, load
from progress_monitor_lab.training.formats import Sample
from progress_monitor_lab.training.samples import FORMS, Sampler
from progress_monitor_lab.training.tower import batch_attention, features

TOKENS_OF_BATCH = 4200
DIGIT_WEIGHT, CHANCE_WEIGHT = 2.0, 4.0
CHECKPOINT_STEPS = 400
FOREIGN_IMAGES = 4000
AT_ONCE = 128
# The form that a teacher knows, and its share in the loss.
TAUGHT_FORM, TAUGHT = 'procvlm', 0.5


@dataclass(frozen=True, eq=False)
class Batch(Rows):
    """Rows with the weights (b, n) of their targets; ``frames`` are those shown, in order.

    ``others`` (b, n) holds the second possible token where ``chances`` (b, n) is its share.
    """

    frames: torch.Tensor
    weights: torch.Tensor
    others: torch.Tensor
    chances: torch.Tensor


@dataclass(frozen=True, eq=False)
class _Row:
    said: Row
    differs: int = 0
    other: int = 0
    chance: float = 0.0


class Collator:
    """Samples to token ids through the same prompt builder that the monitor uses."""

    def __init__(self, folder: Path) -> None:
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        layout = ImageFormat.read(folder / 'preprocessor_config.json')
        self._builder = PromptBuilder(self._tokenizer, layout)
        self._blank = np.zeros((128, 128, 3), np.uint8)
        self.image_id = self._tokenizer.convert_tokens_to_ids('<|image_pad|>')
        self._end = self._tokenizer.convert_tokens_to_ids('<|im_end|>')
        self.digits = torch.tensor(
            [self._tokenizer.convert_tokens_to_ids(digit) for digit in '0123456789']
        )

    def draw(self, sampler: Sampler, form: str) -> Batch:
        """As many samples of a form as make a batch."""
        count = sampler.frames_of(form)
        samples: list[Sample] = []
        rows: list[_Row] = []
        longest = 0
        while (len(rows) + 1) * longest <= TOKENS_OF_BATCH:
            samples.append(sampler.draw(form, count))
            rows.append(self._row(samples[-1]))
            longest = max(longest, len(rows[-1].said.ids))
        return self._batch(samples, rows)

    def _batch(self, samples: list[Sample], rows: list[_Row]) -> Batch:
        batch = Rows.padded([row.said for row in rows])
        others, chances = torch.zeros_like(batch.ids), torch.zeros(batch.ids.shape)
        for number, row in enumerate(rows):
            place = len(row.said.ids) - row.said.answer - 1 + row.differs
            others[number, place] = row.other
            chances[number, place] = row.chance
        weights = torch.where(torch.isin(batch.targets, self.digits), DIGIT_WEIGHT, 1.0)
        weights[chances > 0.0] = CHANCE_WEIGHT
        frames = torch.tensor([index for sample in samples for index in sample.frames])
        return Batch(batch.ids, batch.positions, batch.targets, frames, weights, others, chances)

    def _row(self, sample: Sample) -> _Row:
        parts = tuple(
            part if isinstance(part, str) else Frame(part, 'camera', part, self._blank)
            for part in sample.parts
        )
        tokens = self._builder.build(Request(0, '', parts, Generate(), sample.chat))
        said = list(self._builder.continuation(sample.answer))
        differs = other = 0
        if sample.chance_of_other:
            rival = self._builder.continuation(sample.other)
            differs = next(
                i for i, pair in enumerate(zip(said, rival, strict=False)) if len(set(pair)) > 1
            )
            other = rival[differs]
        if sample.chat:
            said.append(self._end)
        return _Row(Row.of(tokens, said), differs, other, sample.chance_of_other)


def answer_logits(model: Any, batch: Batch, seen: torch.Tensor) -> torch.Tensor:
    """Logits at the positions of the answers, (m, vocabulary)."""
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
    logits: torch.Tensor = model.lm_head(hidden[batch.targets >= 0])
    return logits


def loss_of(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Weighted cross-entropy of the answers; both answers count where two are possible."""
    answers = batch.targets >= 0
    chances, weights = batch.chances[answers], batch.weights[answers]
    said = nn.functional.cross_entropy(logits, batch.targets[answers], reduction='none')
    other = nn.functional.cross_entropy(logits, batch.others[answers], reduction='none')
    losses = torch.lerp(said, other, chances)
    return (losses * weights).sum() / weights.sum()


def taught_loss_of(logits: torch.Tensor, batch: Batch, taught: torch.Tensor) -> torch.Tensor:
    """As ``loss_of``, in part against what a teacher says (m, vocabulary) at the same positions."""
    weights = batch.weights[batch.targets >= 0]
    losses = nn.functional.cross_entropy(logits, taught.softmax(-1), reduction='none')
    return torch.lerp(loss_of(logits, batch), (losses * weights).sum() / weights.sum(), TAUGHT)


@dataclass(frozen=True, eq=False)
class Teacher:
    """Another checkpoint with the same tower, and the features of what it is shown."""

    model: Any
    seen: torch.Tensor

    @classmethod
    def read(cls, folder: Path, seen: torch.Tensor) -> Teacher:
        """The checkpoint in ``folder``, in single precision."""
        model = Qwen3VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
        return cls(model, seen)

    @torch.no_grad()
    def logits(self, batch: Batch) -> torch.Tensor:
        """What it says at the positions of the answers, (m, vocabulary)."""
        return answer_logits(self.model, batch, self.seen)


@torch.no_grad()
def see_all(model: Any, corpus: Corpus, vary: bool) -> torch.Tensor:
    """Features of every frame, float16; with ``vary`` half of them under another light."""
    generator = torch.Generator().manual_seed(1)
    seen = torch.empty(0, dtype=torch.float16)
    for number, images in enumerate(torch.from_numpy(corpus.images).split(AT_ONCE)):
        pictures = images.float()
        if vary:
            chosen = torch.rand(len(images), generator=generator) < 0.5
            if bool(chosen.any()):
                pictures[chosen] = augment(images[chosen], generator)
        found = features(model, pictures)
        if not len(seen):
            seen = torch.empty((len(corpus.images), *found.shape[1:]), dtype=torch.float16)
        seen[number * AT_ONCE :][: len(found)] = found
    return seen


@torch.no_grad()
def validate(model: Any, collate: Collator, corpus: Corpus, seen: torch.Tensor) -> str:
    """Per form: loss, and how far the first digits are off, on held-out episodes, answers given."""
    sampler = Sampler(corpus, 5)
    said = []
    for form in FORMS:
        losses, off = [], []
        for _ in range(10):
            batch = collate.draw(sampler, form)
            logits = answer_logits(model, batch, seen)
            losses.append(float(loss_of(logits, batch)))
            targets, guess = batch.targets[batch.targets >= 0], logits.argmax(-1)
            digit = torch.isin(targets, collate.digits)
            # Of a number with two digits; numbers of list items have one.
            first = digit & ~digit.roll(1) & digit.roll(-1)
            off += (guess[first] - targets[first]).abs().float().tolist()
        said.append(f'{form} {np.mean(losses):.4f} / {np.mean(off or [0.0]):.3f}')
    return ', '.join(said)


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
    parser.add_argument('--teacher', type=Path, help='checkpoint with the same tower to learn from')
    parser.add_argument('--form', action='append', choices=tuple(FORMS), help='only these')
    parser.add_argument('--minutes', type=float, default=40.0)
    parser.add_argument('--rate', type=float, default=1.5e-3)
    arguments = parser.parse_args()
    train = load(arguments.episodes, held_out=False)
    held_out = load(arguments.episodes, held_out=True).with_foreign(FOREIGN_IMAGES // 10, 4)
    source = arguments.start or arguments.run / 'start'
    collate = Collator(source)
    model: Any = Qwen3VLForConditionalGeneration.from_pretrained(
        arguments.start or arguments.run / 'sighted', dtype=torch.float32
    )
    arguments.run.mkdir(parents=True, exist_ok=True)
    batch_attention(model)
    undisturbed = see_all(model, train, vary=False) if arguments.teacher else None
    train = train.disturbed(3).with_foreign(FOREIGN_IMAGES, 3)
    seen, unseen = see_all(model, train, vary=True), see_all(model, held_out, vary=False)
    print(f'{len(seen)} frames seen', flush=True)
    teacher = None
    if undisturbed is not None:
        # The pictures of other scenes come last.
        undisturbed = torch.cat([undisturbed, seen[-train.foreign :]])
        teacher = Teacher.read(arguments.teacher, undisturbed)
        print('teacher', validate(teacher.model, collate, held_out, unseen), flush=True)
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
        form = sampler.form(arguments.form or tuple(FORMS))
        batch = collate.draw(sampler, form)
        logits = answer_logits(model, batch, seen)
        if teacher is not None and form == TAUGHT_FORM:
            loss = taught_loss_of(logits, batch, teacher.logits(batch))
        else:
            loss = loss_of(logits, batch)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        for group in optimizer.param_groups:
            group['lr'] = clock.rate(arguments.rate)
        optimizer.step()
        recent.append(float(loss))
        step += 1
        if step % 100 == 0:
            said = validate(model, collate, held_out, unseen) if step % 500 == 0 else ''
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
