"""The streaming decoder: plain greedy decoding's tokens at a part of its cost."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from progress_monitor.resize import fit
from progress_monitor.types import (
    DecodeStats,
    Finish,
    Frame,
    Generate,
    Generated,
    Request,
    Score,
    Scored,
)
from progress_monitor.vlm.adapter_switch import InForce
from progress_monitor.vlm.architectures import Architecture, architecture_of
from progress_monitor.vlm.bounds import check_request
from progress_monitor.vlm.cache import VisionCache, VisionFeatures
from progress_monitor.vlm.drafting import Draft
from progress_monitor.vlm.errors import RequestRefused
from progress_monitor.vlm.forwards import Forwards
from progress_monitor.vlm.graphs import StepGraphs
from progress_monitor.vlm.greedy import Greedy, not_finite
from progress_monitor.vlm.loading import VLM
from progress_monitor.vlm.number import mean_of_digits, number_distribution
from progress_monitor.vlm.pictures import Picture, pictures_of
from progress_monitor.vlm.prompt import PromptTokens
from progress_monitor.vlm.sessions import Session, Sessions
from progress_monitor.vlm.stopping import StopRule, TimeLimit
from progress_monitor.vlm.value_head import TAG, ValueHead, with_value

STEP_ROWS = {'cuda': 4, 'cpu': 8}
MAX_TOKENS = 32_768
MAX_PIXELS = 4096 * 4096
_DONE = 100.0


class StreamingDecoder:
    """Answers one request after the other; what two of them share is computed once.

    The contract: the tokens of every answer are those of ``model.generate(do_sample=False)`` on
    the same prompt up to the same stop. Three things make it cheap. A picture's vision features
    are kept while a session shows it. Key-value states are kept for the longest common
    beginning of this prompt and the session's last. The session's last answer is appended to the
    new prompt as a draft, checked in the same forward pass, and what differs is decoded in steps
    of at most ``step_rows`` rows that check the rest of the draft: by default 4, as many as every
    fused 4-bit kernel takes, and 8 on the CPU, where a row costs a tenth of a step. The adapter of
    the request's task answers; what one of them has computed no other uses. Not re-entrant.

    Where that adapter brings a value head, an answer is decoded to its end whatever stop is asked
    for, because the head reads all of it, and the number in the progress tag is the head's. Where
    it brings a linear probe, that number is the mean of the model's own and the probe's, and what
    is done is decided by both.

    Equality holds as far as floating-point sums do not depend on how many rows are computed
    together: exactly but for ties in float32, not always in 16 bits.
    """

    def __init__(
        self,
        vlm: VLM,
        max_new_tokens: int = 256,
        max_pixels: int = MAX_PIXELS,
        step_rows: int | None = None,
        choice: Greedy | None = None,
        architecture: Architecture | None = None,
    ) -> None:
        """Decode with ``vlm``.

        Frames of more than ``max_pixels`` are shrunk. ``choice`` and ``architecture`` take the
        place of greedy decoding and of the tuned path of the checkpoint's architecture.
        """
        self.max_pixels = max_pixels
        self._vlm = vlm
        self._architecture = architecture or architecture_of(vlm)
        self._max_new_tokens = max_new_tokens
        self._step_rows = step_rows or STEP_ROWS.get(vlm.device.type, 4)
        self._rule = StopRule(vlm)
        self._choice = choice or Greedy(vlm)
        self._forwards = Forwards(self._architecture.text, vlm.device)
        self._sessions = Sessions(self._architecture.text.layers)
        self._seen_by: dict[str, VisionCache] = {}
        self._vision = self._seen_by.setdefault('', VisionCache())
        self._graph_tokens = 0
        context = getattr(vlm.model.config.get_text_config(), 'max_position_embeddings', MAX_TOKENS)
        self.max_tokens = min(int(context), MAX_TOKENS)

    @property
    def note(self) -> str:
        """What of the checkpoint's generation configuration is not applied; empty: nothing."""
        return self._choice.note

    def seen(self, uid: int) -> VisionFeatures | None:
        """Vision features of a frame that some session shows."""
        return self._vision.features.get(uid)

    def forget(self) -> None:
        """Forget everything that was kept from earlier requests and answers."""
        self._sessions.forget()
        for cache in self._seen_by.values():
            cache.keep(())

    def suggest(self, tokens: Sequence[int], session: str = '') -> None:
        """Take ``tokens`` as the draft of the session's next answer, in place of its last."""
        self._sessions.get(session).draft = tuple(tokens)

    @torch.inference_mode()
    def use_graphs(self, capacity: int) -> str:
        """Capture decode steps as CUDA graphs for prompts and answers of ``capacity`` tokens.

        Needs one answer to have been decoded. A session that comes later captures its own after
        its first answer. Returns what was done, or why steps stay eager.
        """
        self._graph_tokens = capacity
        reports = [self._capture(session) for session in self._sessions]
        return reports[0] if reports else 'steps run eagerly until the first answer'

    @torch.inference_mode()
    def answer(self, request: Request, time_limit_s: float = math.inf) -> Generated | Scored:
        """Answer ``request`` within ``time_limit_s`` of wall time.

        At the limit the answer so far is returned; a frame's encoding, and one forward pass, of
        about half a second on a CPU, are not interrupted.

        :raises RequestRefused: if the request cannot be answered: beyond a bound, or the time was
            over before the first token. What was computed is kept for the next attempt.
        :raises VLMError: if the model's output is not finite.
        """
        limit = TimeLimit(time_limit_s)
        check_request(request)
        try:
            return self._answer(request, limit)
        except RequestRefused:
            raise
        except Exception:
            self.forget()
            raise

    def _answer(self, request: Request, limit: TimeLimit) -> Generated | Scored:
        adapter = self._vlm.adapters.use(request.task)
        vision = adapter.name if adapter.vision else ''
        self._vision = self._seen_by.setdefault(vision, VisionCache())
        pictures = pictures_of(request.parts)
        if any(picture.merged for picture in pictures) and not self._architecture.clips:
            raise RequestRefused(
                f'{self._architecture.name} is not shown clips here; set topreward.video to false'
            )
        shown, grids = self._fitted(pictures)
        tokens = self._vlm.prompts.build(request, grids)
        want = request.want
        doubtful = adapter.doubts_end_of(request.task)
        continuations: list[tuple[int, ...]] = []
        room = 0
        if isinstance(want, Score):
            continuations = [self._vlm.prompts.continuation(text) for text in want.continuations]
            room = max(map(len, continuations))
        else:
            room = min(want.max_new_tokens or self._max_new_tokens, self._max_new_tokens)
        self._check_length(tokens, room)
        session = self._sessions.get(request.session, adapter.name)
        session.vision = vision
        session.show(pictures)
        for name, cache in self._seen_by.items():
            cache.keep(self._sessions.pictures(name))
        encoded = self._encode(shown, limit)
        stats = DecodeStats(
            total_ms=0.0,
            vision_ms=limit.elapsed_s() * 1e3,
            prompt_tokens=len(tokens.ids),
            frames_encoded=encoded,
        )
        self._forwards.begin(session, tokens, self._vision, adapter.head is not None)
        stats = dataclasses.replace(stats, reused_tokens=session.cache.length)
        if isinstance(want, Score):
            scored = self._score(session, tokens, continuations, limit, stats)
            return dataclasses.replace(scored, adapter=adapter.label, end_doubtful=doubtful)
        probed = math.nan
        if adapter.probe is not None and want.number_tag == TAG:
            seen = [self._vision.features[picture.key] for picture in pictures]
            cameras = [picture.frames[0].camera for picture in pictures]
            probed = adapter.probed(request.task, cameras, seen)
        said = self._generate(session, tokens, want, room, limit, stats, adapter, probed)
        return dataclasses.replace(said, adapter=adapter.label, end_doubtful=doubtful)

    def _fitted(
        self, pictures: Sequence[Picture]
    ) -> tuple[dict[int, list[_Image]], dict[int, _Grid]]:
        """Images of pictures without features yet, at the size shown, and the grids of all."""
        shown: dict[int, list[_Image]] = {}
        grids: dict[int, _Grid] = {}
        for picture in pictures:
            held = self._vision.features.get(picture.key)
            if held is not None:
                grids[picture.key] = held.grid
                continue
            images = [self._fit(frame) for frame in picture.frames]
            if images[0].shape != images[-1].shape:
                raise RequestRefused(
                    f'two frames of {picture.frames[0].camera!r} differ in size: they make no clip'
                )
            shown[picture.key] = images
            grids[picture.key] = self._vlm.images.grid(images[0])
        return shown, grids

    def _fit(self, frame: Frame) -> _Image:
        try:
            return fit(frame.image, self.max_pixels, self._vlm.images.multiple)
        except ValueError as error:
            raise RequestRefused(f'a frame of {frame.camera!r}: {error}') from error

    def _check_length(self, tokens: PromptTokens, room: int) -> None:
        length = len(tokens.ids) + room
        if length > self.max_tokens:
            pictures = sum(stop - start for start, stop in tokens.spans)
            raise RequestRefused(
                f'the prompt and its answer take {length} tokens ({pictures} of them pictures), '
                f'{self.max_tokens} at most; show fewer frames, lower model.max_pixels, or '
                'shorten the text'
            )

    def _encode(self, shown: dict[int, list[_Image]], limit: TimeLimit) -> int:
        for count, (key, images) in enumerate(shown.items()):
            limit.check(f'{count} of {len(shown)} new frames')
            self._vision.features[key] = self._architecture.vision.encode(*images)
        return len(shown)

    def _generate(
        self,
        session: Session,
        tokens: PromptTokens,
        want: Generate,
        room: int,
        limit: TimeLimit,
        stats: DecodeStats,
        adapter: InForce,
        probed: float,
    ) -> Generated:
        head = adapter.head if want.number_tag == TAG else None
        length = len(tokens.ids)
        draft = Draft(session.draft)
        proposal = draft.proposal(room - 1)
        logits = self._forwards.prefill(proposal, limit)
        if adapter.probe is not None and math.isfinite(probed):
            logits = adapter.probe.weighed(logits, probed)
        rows = self._choice.read(logits, tokens.ids, (), proposal)
        prefilled = limit.elapsed_s() * 1e3
        answer: list[int] = []
        digits: list[Sequence[float]] = []
        drafted = accepted = 0
        finish: Finish | None = None
        stop = want.stop if head is None else ()
        while True:
            drafted += len(proposal)
            known = len(answer)
            for index, (token, probabilities) in enumerate(rows):
                answer.append(token)
                digits.append(probabilities)
                agreed = index < len(proposal) and proposal[index] == token
                accepted += agreed
                finish = self._rule.finish(answer, stop)
                if finish is None and len(answer) >= room:
                    finish = Finish.TOKEN_LIMIT
                if finish is not None or not agreed:
                    break
            if finish is None and limit.over():
                finish = Finish.TIME_LIMIT
            if finish is not None:
                # The state of a last token that was drafted is there, and a value head reads it.
                session.cache.crop(length + len(answer) - (not agreed))
                break
            session.cache.crop(length + len(answer) - 1)
            draft.advance(answer, len(answer) - known)
            proposal = draft.proposal(min(self._step_rows - 1, room - len(answer) - 1))
            logits = self._forwards.step(
                (answer[-1], *proposal), tokens.next_position + len(answer) - 1
            )
            rows = self._choice.read(logits, tokens.ids, answer, proposal)
        text = self._vlm.tokenizer.decode(answer, skip_special_tokens=True)
        number: tuple[tuple[float, float], ...] = ()
        if head is not None:
            text = with_value(text, self._value(session, tokens, answer, head))
        elif want.number_tag:
            pieces = [self._rule.piece(token) for token in answer]
            number = number_distribution(pieces, digits, want.number_tag)
            if math.isfinite(probed) or (adapter.means and want.number_tag == TAG):
                own = mean_of_digits(pieces, digits, TAG)
                # That it is done has been decided by both.
                if own < _DONE:
                    said = own if math.isnan(probed) else 0.5 * (own + probed)
                    text = with_value(text, said)
        session.cache.remember(np.concatenate([tokens.keys, np.asarray(answer, np.int64)]))
        session.draft = tuple(answer)
        total = limit.elapsed_s() * 1e3
        if self._graph_tokens and not session.graphs_tried:
            self._capture(session)
        return Generated(
            text=text,
            token_ids=tuple(answer),
            finish=finish,
            number=number,
            stats=dataclasses.replace(
                stats,
                total_ms=total,
                prefill_ms=prefilled - stats.vision_ms,
                forwards=self._forwards.count,
                drafted_tokens=drafted,
                accepted_tokens=accepted,
            ),
        )

    def _value(
        self, session: Session, tokens: PromptTokens, answer: Sequence[int], head: ValueHead
    ) -> float:
        """What the value head reads from the prompt and the whole answer, percent.

        Every state is there already, but for that of a last token that no draft has foreseen.
        """
        if session.cache.length < len(tokens.ids) + len(answer):
            self._forwards.step(answer[-1:], tokens.next_position + len(answer) - 1)
        ids = np.concatenate([tokens.ids, np.asarray(answer, np.int64)])
        read = torch.from_numpy(ids != self._vlm.tokenizer.pad_token_id)
        value = head.percent(session.cache.hidden()[read.to(self._vlm.device)])
        if not math.isfinite(value):
            raise not_finite()
        return value

    def _score(
        self,
        session: Session,
        tokens: PromptTokens,
        continuations: Sequence[tuple[int, ...]],
        limit: TimeLimit,
        stats: DecodeStats,
    ) -> Scored:
        """One forward of the prompt gives every first token; longer ones take one more each."""
        length = len(tokens.ids)
        first = self._forwards.prefill((), limit).float().log_softmax(-1)[0]
        prefilled = limit.elapsed_s() * 1e3
        session.cache.remember(tokens.keys)
        scores: list[float] = []
        for index, ids in enumerate(continuations):
            score = first[ids[0]].item()
            if len(ids) > 1:
                limit.check(f'{index} of {len(continuations)} continuations')
                rows = self._forwards.step(ids[:-1], tokens.next_position).float().log_softmax(-1)
                wanted = torch.tensor(ids[1:], device=rows.device)[:, None]
                score += rows.gather(-1, wanted).sum().item()
                session.cache.crop(length)
            scores.append(score)
        if not all(map(math.isfinite, scores)):
            raise not_finite()
        return Scored(
            tuple(scores),
            dataclasses.replace(
                stats,
                total_ms=limit.elapsed_s() * 1e3,
                prefill_ms=prefilled - stats.vision_ms,
                forwards=self._forwards.count,
            ),
        )

    def _capture(self, session: Session) -> str:
        session.graphs_tried = True
        session.graphs, report = StepGraphs.capture(
            self._architecture.text, session.cache, self._graph_tokens, (1, self._step_rows)
        )
        return report


_Grid = tuple[int, int]
_Image = NDArray[np.uint8]
