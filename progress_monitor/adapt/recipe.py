"""How a checkpoint is adapted: published settings where there are any, measured ones elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

from progress_monitor.adapt.wording import PUBLISHED, SMALL_CELL, Wording
from progress_monitor.vlm.profiles import find

ATTENTION = ('q_proj', 'k_proj', 'v_proj', 'o_proj')
FEED_FORWARD = ('gate_proj', 'up_proj', 'down_proj')
VISION = ('attn.qkv', 'attn.proj', 'linear_fc1', 'linear_fc2')


@dataclass(frozen=True)
class Recipe:
    """Settings of one kind of checkpoint.

    ``targets`` are names of layers with a LoRA of ``rank`` and ``alpha``. A step learns from
    ``batch`` windows, ``at_once`` of them in one forward. Training ends after ``steps`` for each
    demonstration, or when the held-out loss has not fallen for ``patience`` of its readings,
    ``read_every`` steps apart.
    ``telling_weight`` is that of an answer's first token and of the digits of its progress, the
    others' being 1, and numbers within ``spread`` points of the true progress are nearly right.
    The layers that are judged and kept are their mean over about the last ``averaged`` steps.
    With ``means`` the monitor's number is the mean of what the digits may be, not the likeliest.
    With ``probe`` the adapter has a linear probe, and the mean of its number and that is taken.
    ``blur`` is the noise on the tower's features, in shares of how far they differ.
    ``looks`` is how often the demonstration is seen under other light and from
    elsewhere, ``strength`` how far elsewhere, and ``pictures_per_sample`` how many of its pictures
    are kept for each sample of the monitor.
    """

    wording: Wording
    rank: int
    alpha: int
    dropout: float
    targets: tuple[str, ...]
    rate: float
    warm_up: float
    weight_decay: float
    steps: int
    batch: int
    at_once: int
    read_every: int
    patience: int
    looks: int
    pictures_per_sample: int
    strength: float = 1.0
    telling_weight: float = 1.0
    spread: float = 3.0
    means: bool = False
    probe: bool = False
    blur: float = 0.0
    averaged: int = 1
    checkpointing: bool = False


PROCVLM = Recipe(
    wording=PUBLISHED,
    rank=64,
    alpha=128,
    dropout=0.05,
    targets=ATTENTION,
    rate=1e-5,
    warm_up=0.05,
    weight_decay=0.01,
    # Three epochs of a demonstration of about 100 pictures, as published.
    steps=120,
    batch=8,
    at_once=1,
    read_every=20,
    patience=3,
    looks=4,
    pictures_per_sample=2,
    checkpointing=True,
)
SMALL = Recipe(
    wording=SMALL_CELL,
    rank=32,
    alpha=64,
    dropout=0.0,
    targets=(*ATTENTION, *FEED_FORWARD),
    rate=4e-3,
    warm_up=0.05,
    weight_decay=0.01,
    steps=400,
    batch=12,
    at_once=12,
    read_every=80,
    patience=4,
    looks=240,
    pictures_per_sample=3,
    # It has seen one cell only: what stands elsewhere in the next run is a new scene to it.
    strength=5.0 / 3.0,
    telling_weight=6.0,
    # With less, what looks new is taken for some place of the demonstration that it resembles.
    spread=8.0,
    means=True,
    probe=True,
    blur=0.35,
    averaged=100,
)


def recipe_for(model_path: str) -> Recipe:
    """The settings that suit a checkpoint, by its name or its sizes."""
    profile = find('auto', model_path)
    return SMALL if profile is not None and profile.name.startswith('small_cell') else PROCVLM
