"""What a tick costs, measured while the model warms up, and what follows from it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from progress_monitor.types import NAN, Finish, Generated, Scored
from progress_monitor.vlm.architectures import Architecture, architecture_of, plain
from progress_monitor.vlm.config import ModelConfig
from progress_monitor.vlm.decoder import StreamingDecoder
from progress_monitor.vlm.errors import RequestRefused, VLMError
from progress_monitor.vlm.loading import VLM
from progress_monitor.vlm.sample import sample_request, sample_score

DECODING_SHARE = 0.8
FLOOR_PIXELS = 128 * 128
_TICK_FRAMES = 5
_ANSWER_TOKENS = 16
_REPEATED_MS = 2000.0
# Largest difference of a log-probability that rounding explains.
_TOLERANCE = {4: 0.01, 2: 1.0}


@dataclass(frozen=True)
class Cost:
    """What a tick costs at ``max_pixels``; see ``Capabilities``. ``notes`` are for the log."""

    max_pixels: int
    tick_ms: float
    frame_ms: float
    notes: tuple[str, ...]


def checked_architecture(vlm: VLM) -> tuple[Architecture, str]:
    """The tuned path if it agrees with transformers' own forward on a small sample, else that.

    Returns a note as well, empty where the tuned path is used.

    :raises VLMError: if the model cannot be run.
    """
    expected = _scores(vlm, plain(vlm))
    try:
        tuned = architecture_of(vlm)
        found = _scores(vlm, tuned)
    except (AttributeError, TypeError) as error:
        return plain(vlm), f'the plain path is used: the tuned one does not run ({error})'
    off = max(abs(one - other) for one, other in zip(expected, found, strict=True))
    if off <= _TOLERANCE[min(vlm.dtype.itemsize, 4)]:
        return tuned, ''
    return plain(vlm), (
        "the plain path is used: the tuned one differs from transformers' own forward by "
        f'{off:.3g} in a log-probability'
    )


def _scores(vlm: VLM, architecture: Architecture) -> tuple[float, ...]:
    scored = StreamingDecoder(vlm, architecture=architecture).answer(sample_score(vlm))
    assert isinstance(scored, Scored)
    return scored.log_probabilities


def measure(decoder: StreamingDecoder, vlm: VLM, config: ModelConfig, min_images: int) -> Cost:
    """Answer sample requests; make frames smaller until ``min_images`` new ones fit the deadline.

    Each attempt ends at four fifths of ``model.deadline_s``, and halves the pixels down to
    128 x 128 at the least, so that the number of attempts is bounded.

    :raises VLMError: if even frames of that size take longer.
    """
    limit_s = DECODING_SHARE * config.deadline_s
    notes = []
    pixels = config.max_pixels
    while True:
        decoder.max_pixels = pixels
        found = _cold(decoder, vlm, pixels, min_images, limit_s)
        if isinstance(found, Generated):
            break
        if pixels <= FLOOR_PIXELS:
            raise VLMError(
                f'{config.path}: too slow on {vlm.device} for model.deadline_s '
                f'{config.deadline_s:.4g}: {min_images} new frames of {pixels} pixels and '
                f'{_ANSWER_TOKENS} tokens of an answer do not fit in {limit_s:.4g} s ({found}); '
                'raise model.deadline_s, lower window.min_images, or take a smaller checkpoint '
                'or a faster device'
            )
        pixels = max(pixels // 2, FLOOR_PIXELS)
    if pixels != config.max_pixels:
        notes.append(
            f'frames are shown with at most {pixels} pixels, not the {config.max_pixels} of '
            f'model.max_pixels: {min_images} new ones of more do not fit in {limit_s:.4g} s'
        )
    # The first run of a shape is slower than the ones to come; a slow model need not show it twice.
    quick = found.stats.total_ms < _REPEATED_MS
    tick: Generated | str = found
    if quick or min_images != _TICK_FRAMES:
        tick = _cold(decoder, vlm, pixels, _TICK_FRAMES, limit_s)
    tick_ms = tick.stats.total_ms if isinstance(tick, Generated) else NAN
    frame_ms = _one_more(decoder, vlm, pixels, limit_s)
    share = (
        f' of the {limit_s:.4g} s that model.deadline_s leaves' if math.isfinite(limit_s) else ''
    )
    if math.isfinite(tick_ms):
        notes.append(
            f'{_TICK_FRAMES} new frames and a short answer take {tick_ms / 1e3:.3g} s{share}, '
            f'one more frame {frame_ms / 1e3:.3g} s'
        )
    return Cost(pixels, tick_ms, frame_ms, tuple(notes))


def _cold(
    decoder: StreamingDecoder, vlm: VLM, pixels: int, frames: int, limit_s: float
) -> Generated | str:
    """The answer about ``frames`` new frames, or why there is none in time."""
    decoder.forget()
    asked = sample_request(vlm, pixels, frames, _ANSWER_TOKENS)
    try:
        answer = decoder.answer(asked, limit_s)
    except RequestRefused as refused:
        return str(refused)
    assert isinstance(answer, Generated)
    if answer.finish is Finish.TIME_LIMIT:
        return f'{len(answer.token_ids)} tokens were said in time'
    return answer


def _one_more(decoder: StreamingDecoder, vlm: VLM, pixels: int, limit_s: float) -> float:
    """Vision and prefill of a window that has grown by one frame, ms; NaN if out of time."""
    asked = sample_request(vlm, pixels, _TICK_FRAMES + 1, _ANSWER_TOKENS)
    try:
        stats = decoder.answer(asked, limit_s).stats
    except RequestRefused:
        return NAN
    return stats.vision_ms + stats.prefill_ms if stats.frames_encoded == 1 else NAN
