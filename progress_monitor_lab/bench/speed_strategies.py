"""The strategies side by side: the streaming decoder against the way of each method's own code.

Their code puts the whole prompt through the model at every step: ``generate`` for a text, one
forward for TOPReward's probability. Both are asked the very same prompts here.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import torch

from progress_monitor.config import MonitorConfig
from progress_monitor.strategies.combined import Combined
from progress_monitor.strategies.demonstration import Demonstration, DemonstrationStep
from progress_monitor.strategies.procvlm import ProcVLM
from progress_monitor.strategies.progresslm import ProgressLM
from progress_monitor.strategies.recurrent import Recurrent
from progress_monitor.strategies.strategy import Strategy
from progress_monitor.strategies.topreward import TopReward
from progress_monitor.strategy_config import ProgressLMConfig, TopRewardConfig
from progress_monitor.types import Frame, Generate, Recollection, Request, Scored, new_uid
from progress_monitor.vlm.architectures import architecture_of
from progress_monitor.vlm.decoder import StreamingDecoder
from progress_monitor.vlm.loading import VLM
from progress_monitor_lab.bench.speed_reference import generate, kinds, pictures

STATES = 5
UNTIMED = 2


@dataclass(frozen=True)
class StrategyCase:
    """What one strategy's ticks cost, ms of wall time, and how far both ways agree.

    ``identical_tokens`` is the share of answers with the tokens of ``generate``, and
    ``largest_difference`` that of the log-probabilities; each None where it does not apply.
    """

    strategy: str
    ticks: int
    ours_ms_median: float
    reference_ms_median: float
    ratio_median: float
    identical_tokens: float | None
    largest_difference: float | None


def run_strategies(
    vlm: VLM, task: str, episodes: Sequence[Sequence[Frame]], ticks: int, max_new_tokens: int
) -> list[StrategyCase]:
    """Play ``episodes`` to every strategy, ``ticks`` ticks each."""
    config = MonitorConfig()
    shown = ProgressLMConfig(prompt='progresslm_short')
    demonstration = _demonstration(task, episodes[0])
    made: dict[str, Strategy] = {
        'procvlm': ProcVLM(config),
        'topreward': TopReward(config),
        'topreward, video': TopReward(config, TopRewardConfig(video=True)),
        'progresslm': ProgressLM(config, shown, demonstration=demonstration),
        'recurrent': Recurrent(config),
        'combined': Combined(ProcVLM(config), TopReward(config)),
    }
    if not architecture_of(vlm).clips:
        del made['topreward, video']
    return [
        _run(vlm, name, item, task, episodes, ticks, max_new_tokens) for name, item in made.items()
    ]


def _run(
    vlm: VLM,
    name: str,
    strategy: Strategy,
    task: str,
    episodes: Sequence[Sequence[Frame]],
    ticks: int,
    max_new_tokens: int,
) -> StrategyCase:
    decoder = StreamingDecoder(vlm, max_new_tokens)
    ours: list[float] = []
    theirs: list[float] = []
    same: list[bool] = []
    apart: list[float] = []
    for episode in episodes:
        strategy.reset()
        thought = ''
        for newest in range(len(episode)):
            history = SimpleNamespace(samples=[(frame,) for frame in episode[: newest + 1]])
            view = strategy.select(history, episode[newest].stamp_ns)
            if view is None or len(ours) == ticks + UNTIMED:
                continue
            our_ms = their_ms = 0.0
            for asked in strategy.ask(view, Recollection(task, thought=thought)):
                request = Request(new_uid(), asked.session, asked.parts, asked.want, asked.chat)
                started = time.perf_counter()
                answer = decoder.answer(request)
                our_ms += (time.perf_counter() - started) * 1e3
                started = time.perf_counter()
                if isinstance(answer, Scored):
                    expected = _log_probabilities(vlm, request)
                    pairs = zip(answer.log_probabilities, expected, strict=True)
                    apart += [abs(a - b) for a, b in pairs]
                else:
                    assert isinstance(asked.want, Generate)
                    tokens = generate(vlm, request, max_new_tokens, asked.want.stop)
                    same.append(tokens == answer.token_ids)
                their_ms += (time.perf_counter() - started) * 1e3
                thought = strategy.read((answer,), view).thought or thought
            ours.append(our_ms)
            theirs.append(their_ms)
    timed, reference = ours[UNTIMED:], theirs[UNTIMED:]
    return StrategyCase(
        strategy=name,
        ticks=len(timed),
        ours_ms_median=float(np.median(timed)),
        reference_ms_median=float(np.median(reference)),
        ratio_median=float(np.median(np.divide(reference, timed))),
        identical_tokens=float(np.mean(same)) if same else None,
        largest_difference=max(apart) if apart else None,
    )


@torch.inference_mode()
def _log_probabilities(vlm: VLM, request: Request) -> tuple[float, ...]:
    """Of every continuation, by a forward over the whole prompt with it.

    Continuations that differ in their last token alone share one, as the published client does it.
    """
    assert not isinstance(request.want, Generate)
    tokens = vlm.prompts.build(request)
    known: dict[tuple[int, ...], torch.Tensor] = {}
    found = []
    for text in request.want.continuations:
        ids = vlm.prompts.continuation(text)
        if ids[:-1] not in known:
            whole = np.append(tokens.ids, ids[:-1]).astype(np.int64)
            logits = vlm.model(
                input_ids=torch.from_numpy(whole)[None].to(vlm.device),
                mm_token_type_ids=kinds(vlm, request, tokens, len(ids) - 1),
                **pictures(vlm, request),
            ).logits[0, len(tokens.ids) - 1 :]
            known[ids[:-1]] = logits.float().log_softmax(-1)
        rows = known[ids[:-1]]
        found.append(sum(rows[place, token].item() for place, token in enumerate(ids)))
    return tuple(found)


def _demonstration(task: str, episode: Sequence[Frame]) -> Demonstration:
    places = np.linspace(0, len(episode) - 1, STATES).round().astype(int).tolist()
    steps = tuple(
        DemonstrationStep(number / (STATES - 1), image=replace(episode[place], uid=-1 - number))
        for number, place in enumerate(places)
    )
    return Demonstration('visual', task, steps)
