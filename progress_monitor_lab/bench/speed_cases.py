"""One case of the speed benchmark: a policy, an episode, a checkpoint; the reference beside it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from progress_monitor.config import MonitorConfig, WindowConfig
from progress_monitor.strategies.procvlm import ProcVLM
from progress_monitor.strategies.selection import WindowSelection
from progress_monitor.types import Frame, Generate, Generated, Recollection, Request, View
from progress_monitor.vlm.decoder import StreamingDecoder
from progress_monitor.vlm.greedy import Greedy, Row
from progress_monitor.vlm.loading import VLM
from progress_monitor.vlm.model_engine import peak_resident_mb, resident_mb
from progress_monitor_lab.bench.speed_reference import (
    REFERENCE_FRAMES,
    STOP,
    generate,
    reference_window,
)

UNTIMED_TICKS = 2


@dataclass(frozen=True)
class Case:
    """What was measured for one policy. Times in milliseconds of wall time per tick.

    ``ratio_median`` is the median over ticks of the reference's time by ours; ``ratio_p95`` is
    the 95th percentile of the reference's times by that of ours. ``identical_outputs`` is the
    share of ticks whose tokens are those of ``generate`` on the very same prompt, and None where
    the text was forced. ``roofline_ms`` is the least time that the device's bandwidth and peak
    allow for the forwards that were made, or None where these were not given.
    """

    policy: str
    frame_size: tuple[int, int]
    quantization: str
    dtype: str
    device: str
    steps: str
    ticks: int
    ratio_median: float
    ratio_p95: float
    ours_ms_median: float
    ours_ms_p95: float
    reference_ms_median: float
    reference_ms_p95: float
    ticks_per_second: float
    identical_outputs: float | None
    accepted_draft_share: float
    forwards_per_tick: float
    tokens_per_answer: float
    reused_token_share: float
    vision_frames_encoded_per_tick: float
    peak_memory_mb: float
    roofline_ms: float | None


@dataclass(frozen=True)
class Device:
    """Peak figures of the device: memory bandwidth in GB/s and dense 16-bit TFLOP/s."""

    bandwidth: float
    peak: float


class ForcedText(Greedy):
    """Chooses the tokens of a given text, at the cost of really decoding it: for random weights."""

    forced: Sequence[int] = ()

    def read(
        self,
        logits: torch.Tensor,
        prompt: NDArray[np.int64],
        answer: Sequence[int],
        proposal: Sequence[int],
    ) -> list[Row]:
        """The forced tokens, once the logits are there; greedy where none are forced."""
        rows = super().read(logits, prompt, answer, proposal)
        last = len(self.forced) - 1
        return [
            (self.forced[min(len(answer) + index, last)] if self.forced else token, digits)
            for index, (token, digits) in enumerate(rows)
        ]


def question(frames: Sequence[Frame], task: str) -> Request:
    """What the ``procvlm`` strategy asks about ``frames``, oldest first."""
    view = View(tuple(frames), frames[-1].stamp_ns)
    (asked,) = ProcVLM(MonitorConfig()).ask(view, Recollection(task))
    want = Generate(stop=STOP, number_tag='progress')
    return Request(0, asked.session, asked.parts, want, asked.chat)


def run_case(
    vlm: VLM,
    policy: str,
    task: str,
    episodes: Sequence[Sequence[Frame]],
    ticks: int,
    max_new_tokens: int,
    texts: Sequence[str] = (),
    device: Device | None = None,
) -> Case:
    """Play ``episodes`` to the reference and to the streaming decoder, tick by tick in turn.

    ``texts`` are forced as the answers, over and over, where the weights are random.
    """
    choice = ForcedText(vlm)
    decoder = StreamingDecoder(vlm, max_new_tokens, choice=choice)
    steps = _prepare(decoder, vlm, task, episodes[0], texts)
    if vlm.device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats(vlm.device)
    ours: list[float] = []
    reference: list[float] = []
    answers: list[Generated] = []
    same = 0
    forced_texts = [vlm.tokenizer(text, add_special_tokens=False)['input_ids'] for text in texts]
    for tick, (window, plain) in enumerate(_windows(policy, episodes)):
        if tick == ticks + UNTIMED_TICKS:
            break
        forced = forced_texts[tick % len(texts)] if texts else []
        asked = question(window, task)
        theirs = question(plain, task)
        reference_ms = _milliseconds(vlm, generate, vlm, theirs, max_new_tokens, forced=forced)[0]
        choice.forced = forced
        our_ms, answer = _milliseconds(vlm, decoder.answer, asked)
        if tick < UNTIMED_TICKS:
            continue
        reference.append(reference_ms)
        ours.append(our_ms)
        answers.append(answer)
        same += not texts and answer.token_ids == generate(vlm, asked, max_new_tokens)
    stats = [answer.stats for answer in answers]
    first = episodes[0][0].image
    return Case(
        policy=policy,
        frame_size=(first.shape[1], first.shape[0]),
        quantization=vlm.quantization,
        dtype=str(vlm.dtype).removeprefix('torch.'),
        device=str(vlm.device),
        steps=steps,
        ticks=len(ours),
        ratio_median=float(np.median(np.divide(reference, ours))),
        ratio_p95=float(np.percentile(reference, 95) / np.percentile(ours, 95)),
        ours_ms_median=float(np.median(ours)),
        ours_ms_p95=float(np.percentile(ours, 95)),
        reference_ms_median=float(np.median(reference)),
        reference_ms_p95=float(np.percentile(reference, 95)),
        ticks_per_second=1e3 / float(np.mean(ours)),
        identical_outputs=None if texts else same / len(ours),
        accepted_draft_share=sum(s.accepted_tokens for s in stats)
        / max(sum(s.drafted_tokens for s in stats), 1),
        forwards_per_tick=float(np.mean([s.forwards for s in stats])),
        tokens_per_answer=float(np.mean([len(answer.token_ids) for answer in answers])),
        reused_token_share=sum(s.reused_tokens for s in stats)
        / sum(s.prompt_tokens for s in stats),
        vision_frames_encoded_per_tick=float(np.mean([s.frames_encoded for s in stats])),
        peak_memory_mb=_peak_memory_mb(vlm),
        roofline_ms=None if device is None else _roofline_ms(vlm, answers, first.size, device),
    )


def soak(
    vlm: VLM, task: str, episodes: Sequence[Sequence[Frame]], ticks: int, max_new_tokens: int
) -> dict[str, float]:
    """Play ``episodes`` over and over as new frames: does a tick's cost or memory grow?

    Times are medians in milliseconds of the ticks 200 to 400 and of the last 200, of wall time
    and of processor time, which a busy machine disturbs less; the means of the forwards beside
    them; memory is the resident set, or what is allocated on CUDA, in MiB.
    """
    decoder = StreamingDecoder(vlm, max_new_tokens)
    part = min(200, ticks // 3)
    times: list[float] = []
    processor: list[float] = []
    forwards: list[int] = []
    memory: list[float] = []
    offset = 0
    while len(times) < ticks:
        for window, _ in _windows('growing', episodes):
            moved = tuple(dataclasses.replace(f, uid=f.uid + offset) for f in window)
            started = time.process_time()
            elapsed, answer = _milliseconds(vlm, decoder.answer, question(moved, task))
            times.append(elapsed)
            processor.append((time.process_time() - started) * 1e3)
            forwards.append(answer.stats.forwards)
            memory.append(_memory_mb(vlm))
            if len(times) == ticks:
                break
        offset += sum(map(len, episodes))
    return {
        'ticks': ticks,
        'early_ms_median': float(np.median(times[part : 2 * part])),
        'late_ms_median': float(np.median(times[-part:])),
        'early_processor_ms_median': float(np.median(processor[part : 2 * part])),
        'late_processor_ms_median': float(np.median(processor[-part:])),
        'early_forwards': float(np.mean(forwards[part : 2 * part])),
        'late_forwards': float(np.mean(forwards[-part:])),
        'early_memory_mb': float(np.median(memory[part : 2 * part])),
        'late_memory_mb': float(np.median(memory[-part:])),
    }


def _prepare(
    decoder: StreamingDecoder, vlm: VLM, task: str, frames: Sequence[Frame], texts: Sequence[str]
) -> str:
    """Warm both ways up and capture graphs where there are any; says how steps are run."""
    asked = question(frames[:5], task)
    decoder.answer(asked)
    generate(vlm, asked, 4)
    longest = WindowConfig().max_images
    tokens = len(vlm.prompts.build(asked).ids)
    report = decoder.use_graphs(tokens * longest // min(len(frames), 5) + 512)
    decoder.forget()
    return report


def _windows(policy: str, episodes: Sequence[Sequence[Frame]]) -> Any:
    """Our window and the reference's, for every frame of every episode."""
    bounds = {'max_images': REFERENCE_FRAMES} if policy == 'sliding' else {}
    config = WindowConfig(policy=policy, **bounds)
    for episode in episodes:
        selection = WindowSelection(config)
        samples = [(frame,) for frame in episode]
        for newest in range(len(episode)):
            # One tick, one sample.
            window = selection.select(samples[: newest + 1])
            yield window, reference_window(episode, newest)


def _milliseconds(vlm: VLM, function: Any, *arguments: Any, **named: Any) -> tuple[float, Any]:
    started = time.perf_counter()
    result = function(*arguments, **named)
    if vlm.device.type == 'cuda':
        torch.cuda.synchronize(vlm.device)
    return (time.perf_counter() - started) * 1e3, result


def _memory_mb(vlm: VLM) -> float:
    if vlm.device.type == 'cuda':
        return torch.cuda.memory_allocated(vlm.device) / 2**20
    return resident_mb()


def _peak_memory_mb(vlm: VLM) -> float:
    if vlm.device.type == 'cuda':
        return torch.cuda.max_memory_allocated(vlm.device) / 2**20
    return peak_resident_mb()


def _roofline_ms(vlm: VLM, answers: Sequence[Generated], subpixels: int, device: Device) -> float:
    """Weights read once per forward at full bandwidth, or sums at full peak, whichever is more."""
    text, head = vlm.model.model.language_model, vlm.model.lm_head
    read = sum(p.numel() * p.element_size() for p in text.layers.parameters())
    read += sum(p.numel() * p.element_size() for p in head.parameters())
    weights = vlm.model.config.text_config
    width = weights.hidden_size
    heads = weights.num_attention_heads + weights.num_key_value_heads
    each = 2 * width * heads * weights.head_dim + 3 * width * weights.intermediate_size
    flops_per_token = 2 * each * weights.num_hidden_layers
    tower = sum(p.numel() for p in vlm.model.model.visual.blocks.parameters())
    patches = subpixels / 3 / vlm.images.patch_size**2
    times = []
    for answer in answers:
        stats = answer.stats
        rows = stats.prompt_tokens - stats.reused_tokens + stats.drafted_tokens + stats.forwards
        moved = stats.forwards * read / (device.bandwidth * 1e9)
        summed = rows * flops_per_token / (device.peak * 1e12)
        vision = stats.frames_encoded * 2 * tower * patches / (device.peak * 1e12)
        times.append((max(moved, summed) + vision) * 1e3)
    return float(np.median(times))
