"""One-shot adaptation from annotated demonstrations to a written adapter."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from progress_monitor.adapt import folder as adapter_folder
from progress_monitor.adapt.annotation import Annotation
from progress_monitor.adapt.augmentation import Look
from progress_monitor.adapt.batches import Eyes
from progress_monitor.adapt.demonstration import Demonstration, load
from progress_monitor.adapt.probing import fit_probe
from progress_monitor.adapt.recipe import Recipe, recipe_for
from progress_monitor.adapt.replay import Replay
from progress_monitor.adapt.samples import Pool, Rendition, Sample, Sampler, render
from progress_monitor.adapt.training import Course, Trainer
from progress_monitor.node_config import NodeConfig
from progress_monitor.parameters import build
from progress_monitor.vlm import scene_guard
from progress_monitor.vlm.loading import VLM, release_memory
from progress_monitor.vlm.profiles import resolve

HELD_OUT_LOOKS = 2
HELD_OUT_SAMPLES = 96
# Pictures that follow upon each other look alike: some of them tell the scene as well as all.
GUARD_PICTURES = 1000
# As many tell how far pictures differ.
BLUR_PICTURES = 100
# Other runs of a scene lie farther away than other looks at one run: in two groups of real clips at
# up to 1.6 of the looks' limit, in the middle 0.9 to 1.3; the nearest other scene from 1.5 on.
GUARD_ROOM = 1.5


@dataclass(frozen=True)
class Options:
    """What a user may choose. ``base`` is the checkpoint's folder or hub name.

    ``vision`` adapts the vision tower as well; ``quantization`` is that of the base while training.
    ``parameters`` are those that the monitor will watch with, by their dotted names.
    ``replay`` is a folder with the checkpoint's old data in ProcVLM's published form, or None, and
    ``replay_share`` how much of every batch comes from it.
    """

    base: str
    out: Path
    quantization: str = 'none'
    device: str = 'auto'
    vision: bool = False
    replay: Path | None = None
    replay_share: float = 0.1
    seed: int = 0
    threads: int = 1
    recipe: Recipe | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Adapted:
    """What came of it: the training's course and the demonstrations that it learnt from.

    ``notes`` are sentences for the user.
    """

    course: Course
    demonstrations: tuple[Demonstration, ...]
    config: NodeConfig
    notes: tuple[str, ...] = ()


def adapt(annotations: Sequence[Annotation], options: Options) -> Adapted:
    """Train an adapter and write it to ``options.out``; an interrupted training goes on.

    :raises OSError: if a recording cannot be read or something cannot be written.
    :raises ValueError: if a demonstration, or a training that was begun, cannot be used.
    :raises VLMError: if the base cannot be loaded.
    """
    recipe = options.recipe or recipe_for(options.base)
    recipe = replace(recipe, steps=recipe.steps * len(annotations))
    torch.set_num_threads(options.threads)
    given = {**options.parameters, 'model.path': options.base, 'model.adapters': []}
    config = build(NodeConfig, resolve(given, options.base))
    vlm = VLM.from_pretrained(options.base, options.quantization, options.device)
    multiple = vlm.images.multiple
    period = config.window.sample_period / recipe.pictures_per_sample
    demonstrations = tuple(
        load(item, period, config.model.max_pixels, multiple, config.camera) for item in annotations
    )
    rng = np.random.default_rng([options.seed, 1])
    pool = Pool()
    looks = [Look.plain(), *(Look.draw(rng, recipe.strength) for _ in range(recipe.looks - 1))]
    renditions = [render(item, pool, look, rng) for item in demonstrations for look in looks]
    unseen = [
        render(item, pool, Look.draw(rng, recipe.strength), rng)
        for item in demonstrations
        for _ in range(HELD_OUT_LOOKS)
    ]
    replay = None
    if options.replay is not None:
        replay = Replay.read(options.replay, pool, config.model.max_pixels, multiple)
    sampler = Sampler(
        renditions,
        pool,
        config,
        recipe.wording,
        replay.pictures if replay else (),
        replay.tasks if replay else (),
    )
    eyes = Eyes(vlm, pool, options.vision)
    if recipe.blur:
        shown = np.concatenate([item.pictures[:, 0] for item in renditions])
        eyes.blur(recipe.blur, shown[:: max(len(shown) // BLUR_PICTURES, 1)].tolist())
    trainer = Trainer(
        vlm, recipe, options.out, options.vision, options.seed, _key(annotations, options)
    )
    share = options.replay_share

    def draw(count: int, rng: np.random.Generator) -> Sample:
        if replay is not None and rng.random() < share:
            return replay.draw(rng)
        return sampler.draw(count, rng)

    course = trainer.run(draw, sampler.frames, _held_out(unseen, sampler, config), eyes)
    tasks = tuple(dict.fromkeys(item.task for item in annotations))
    probe = None
    if recipe.probe:
        done_token = vlm.prompts.continuation(recipe.wording.finished)[0]
        probe = fit_probe(eyes, renditions, tasks, done_token, options.seed)
    adapter_folder.write(
        options.out,
        trainer.config,
        trainer.tensors(),
        adapter_folder.Purpose(tasks, options.base, vlm.revision, recipe.means),
        probe,
    )
    notes = _write_statistics(options.out, eyes, renditions, unseen)
    del vlm, trainer, eyes
    release_memory()
    return Adapted(course, demonstrations, config, notes)


def _held_out(unseen: Sequence[Rendition], sampler: Sampler, config: NodeConfig) -> list[Sample]:
    """Questions of the monitor at even distances over runs of looks that are not learnt from."""
    samples = []
    each = max(HELD_OUT_SAMPLES // len(unseen), 8)
    cameras = unseen[0].demonstration.cameras
    most = max(config.window.max_images // cameras, 2)
    for number, rendition in enumerate(unseen):
        lasts = np.linspace(0, len(rendition.pictures) - 1, each).round().astype(int)
        for place, last in enumerate(lasts.tolist()):
            count = (1, min(5, most), min(9, most), most)[(number + place) % 4]
            samples.append(sampler.of(rendition, last, count))
    return samples


def _write_statistics(
    folder: Path, eyes: Eyes, renditions: Sequence[Rendition], unseen: Sequence[Rendition]
) -> tuple[str, ...]:
    """What the guard against unknown scenes needs to know the new one; why it is not written."""
    every = max(sum(len(item.pictures) for item in renditions) // GUARD_PICTURES, 1)
    with torch.no_grad():
        known, held_out = (
            np.stack(
                [
                    scene_guard.layout(eyes.features(picture)).numpy()
                    for item in group
                    for picture in item.pictures[::every].ravel().tolist()
                ]
            )
            for group in (renditions, unseen)
        )
    try:
        scene_guard.write(folder, scene_guard.statistics(known, held_out, GUARD_ROOM))
    except ValueError as error:
        return (f'unknown scenes are not told from the new one: {error}',)
    return ()


def _key(annotations: Sequence[Annotation], options: Options) -> str:
    chosen = replace(options, out=Path(), recipe=None, threads=1)
    said = [[str(item) for item in annotations], str(chosen)]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()
