"""A backend on a server with the OpenAI interface: vLLM and its like.

Pictures go as PNG with a hash of their content as identifier. A server that keeps pictures by that
identifier (vLLM's ``uuid``) is sent each once; one that does not is sent all of them every time.
The hash is of the content because the identifier is the server's only key: another picture under a
known one would be answered from the old.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import logging
import os
import queue
import threading
import time
from typing import Any

import cv2
import numpy as np

from progress_monitor.backends.http import HTTPFailureError, call, check_url
from progress_monitor.backends.openai_answers import generated, scores, stats_of
from progress_monitor.backends.server_config import ServerConfig
from progress_monitor.parameters import ParameterError
from progress_monitor.types import (
    BackendState,
    BackendStatus,
    Capabilities,
    Clip,
    Completion,
    Failure,
    Frame,
    Generate,
    Request,
    Score,
    Scored,
)

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 30.0
WAITING_REQUESTS = 8
TEXT_CHARACTERS = 24_000
# More than any window shows; the server forgets as well.
_SENT_PICTURES = 256
_PROBE_S = 30.0
# The most that OpenAI gives, and vLLM unless it is told otherwise; all ten digits fit.
_TOP = 20
# The user turn of Qwen-VL, left open: what a request without the chat template means.
_OPEN_TURN = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}"
    '{% else %}<|vision_start|><|image_pad|><|vision_end|>{% endif %}{% endfor %}{% endfor %}'
)
_LOG = logging.getLogger(__name__)


class OpenAIBackend:
    """Answers requests by a server, from a thread of its own.

    Before it is READY the server is asked for its models and about one picture, so that one that
    takes no pictures, gives no probabilities, or knows no turn but its own chat template's, is
    found out at the start and not at a tick. A server that is lost is FAILED and asked again, with
    a delay that doubles up to 30 s.

    :param deadline_s: wall time for one answer.
    :param max_new_tokens: most tokens of one answer.
    :raises ParameterError: if the server's address or key cannot be used.
    """

    def __init__(self, config: ServerConfig, deadline_s: float, max_new_tokens: int) -> None:
        try:
            check_url(config.url)
        except ValueError as error:
            raise ParameterError(f'server.url: {error}') from error
        self._key = ''
        if config.key_variable:
            self._key = os.environ.get(config.key_variable, '')
            if not self._key:
                raise ParameterError(
                    f'server.key_variable: the environment holds no {config.key_variable}'
                )
        self._config = config
        self._base = config.url.rstrip('/')
        self._deadline_s = deadline_s
        self._max_new_tokens = max_new_tokens
        self._lock = threading.Lock()
        self._requests: queue.Queue[Request | None] = queue.Queue()
        self._completions: queue.SimpleQueue[Completion] = queue.SimpleQueue()
        self._open: set[int] = set()
        self._capabilities: Capabilities | None = None
        self._keeps_pictures = False
        self._sent: dict[str, None] = {}
        self._ids: dict[str, int | None] = {}
        self._closed = threading.Event()
        self._status = BackendStatus(BackendState.LOADING, model=config.model, device=self._base)
        self._thread = threading.Thread(target=self._run, name='openai', daemon=True)
        self._thread.start()

    def capabilities(self) -> Capabilities | None:
        """What the server was found to do; None until it was ready for the first time."""
        return self._capabilities

    def status(self) -> BackendStatus:
        """The state now; while FAILED, ``message`` says what failed."""
        with self._lock:
            return self._status

    def submit(self, request: Request) -> None:
        """Hand ``request`` to the server, once those before it are answered.

        :raises RuntimeError: if the server is not ready, or too many requests wait already.
        """
        with self._lock:
            state = self._status.state
            if state not in (BackendState.READY, BackendState.BUSY):
                raise RuntimeError(f'the model is {state.value}, not ready')
            if len(self._open) >= WAITING_REQUESTS:
                raise RuntimeError(f'{len(self._open)} requests wait already')
            self._open.add(request.id)
            self._set(BackendState.BUSY)
        self._requests.put(request)

    def poll(self) -> Completion | None:
        """The next completion, once."""
        while True:
            try:
                completion = self._completions.get_nowait()
            except queue.Empty:
                return None
            with self._lock:
                wanted = completion.request_id in self._open
                self._open.discard(completion.request_id)
            if wanted:
                return completion

    def cancel(self, request_id: int) -> None:
        """Forget a request: it will not complete."""
        with self._lock:
            self._open.discard(request_id)

    def close(self) -> None:
        """Stop asking. What is under way ends at its deadline, and nobody waits for that."""
        self._closed.set()
        self._requests.put(None)
        with self._lock:
            self._status = BackendStatus(BackendState.STOPPED, model=self._config.model)

    def _set(self, state: BackendState, **changes: Any) -> None:
        if self._status.state is not BackendState.STOPPED:
            self._status = dataclasses.replace(self._status, state=state, **changes)

    def _run(self) -> None:
        failures = 0
        while not self._closed.is_set():
            try:
                self._probe()
                failures = 0
                self._serve()
            except Exception as error:
                # A thread that ended here would leave the node waiting for ever.
                reason = f'{self._base}: {_said(error)}'
                wait_s = error.wait_s if isinstance(error, HTTPFailureError) else 0.0
                delay = min(max(FIRST_DELAY_S * 2**failures, wait_s), LONGEST_DELAY_S)
                failures += 1
                _LOG.error('%s; asking again in %g s', reason, delay)
                with self._lock:
                    self._set(BackendState.FAILED, message=reason)
                self._lose_waiting(reason)
                self._closed.wait(delay)

    def _lose_waiting(self, reason: str) -> None:
        while True:
            try:
                request = self._requests.get_nowait()
            except queue.Empty:
                return
            if request is not None:
                self._completions.put(Completion(request.id, None, Failure.LOST, reason))

    def _probe(self) -> None:
        """Find out what the server can do, with one picture."""
        models = [str(item['id']) for item in self._models()['data']]
        name = self._config.model or (models[0] if len(models) == 1 else '')
        if name not in models:
            raise HTTPFailureError(
                0, f'it serves {", ".join(models) or "no model"}; name one in server.model'
            )
        self._model = name
        picture = Frame(0, 'probe', 0, np.full((64, 64, 3), 127, np.uint8))
        self._sent.clear()
        self._ids.clear()
        self._keeps_pictures = True
        self._top = _TOP
        want = Generate(max_new_tokens=1, number_tag='probe')
        probe = Request(0, 'probe', (picture, 'What is this?'), want)
        first = self._first_answer(probe)
        self._keeps_pictures = self._shows_kept(probe, first)
        content = (first['choices'][0].get('logprobs') or {}).get('content') or []
        probabilities = bool(content and content[0].get('top_logprobs'))
        if not probabilities:
            self._top = 0
        opens = probabilities and self._leaves_turns_open(probe, first)
        self._capabilities = Capabilities(
            architecture=name, scores=probabilities, raw_prompts=opens
        )
        notes = [
            'pictures are kept by the server' if self._keeps_pictures else 'pictures go every time',
            'probabilities are given' if probabilities else 'no probabilities are given',
            'turns can be left open' if opens else "it knows no turn but its own template's",
        ]
        with self._lock:
            self._set(BackendState.READY, model=name, message='; '.join(notes))

    def _first_answer(self, probe: Request) -> dict[str, Any]:
        """The answer to the probe; without probabilities where the server refuses to give them."""
        try:
            return self._ask(probe, _PROBE_S)
        except HTTPFailureError as error:
            if not error.refuses:
                raise
        self._top = 0
        return self._ask(probe, _PROBE_S)

    def _shows_kept(self, probe: Request, first: dict[str, Any]) -> bool:
        """Whether the picture of the probe is shown again by its name alone; one that passes over
        what it does not know is told by the length of the prompt that it reports.
        """
        try:
            reply = self._post(self._body(probe), _PROBE_S)
        except HTTPFailureError:
            return False
        counted = [stats_of(item, 0.0).prompt_tokens for item in (first, reply)]
        return 0 < counted[0] == counted[1]

    def _leaves_turns_open(self, probe: Request, first: dict[str, Any]) -> bool:
        """Whether the server takes a template with the question; one that ignores it, or forbids
        it, is told by the length of the prompt that it reports.
        """
        try:
            reply = self._ask(dataclasses.replace(probe, chat=False), _PROBE_S)
        except HTTPFailureError:
            return False
        counted = [stats_of(item, 0.0).prompt_tokens for item in (first, reply)]
        return 0 < counted[1] < counted[0]

    def _serve(self) -> None:
        while (request := self._requests.get()) is not None:
            with self._lock:
                wanted = request.id in self._open
            if wanted:
                self._completions.put(self._complete(request))
            with self._lock:
                if self._requests.empty():
                    self._set(BackendState.READY)

    def _complete(self, request: Request) -> Completion:
        refusal = self._refusal(request)
        if refusal:
            return Completion(request.id, None, Failure.REFUSED, refusal)
        started = time.perf_counter()
        try:
            reply = self._ask(request, self._deadline_s)
        except TimeoutError:
            reason = f'the server has not answered within model.deadline_s ({self._deadline_s:g} s)'
            return Completion(request.id, None, Failure.LATE, reason)
        except HTTPFailureError as error:
            if error.refuses:
                return Completion(request.id, None, Failure.REFUSED, str(error))
            self._completions.put(Completion(request.id, None, Failure.LOST, str(error)))
            raise
        try:
            return self._read(request, reply, (time.perf_counter() - started) * 1e3)
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            reason = f'its answer cannot be read ({type(error).__name__}: {error})'
            return Completion(request.id, None, Failure.REFUSED, reason)

    def _read(self, request: Request, reply: dict[str, Any], total_ms: float) -> Completion:
        stats = stats_of(reply, total_ms)
        choice = reply['choices'][0]
        if isinstance(request.want, Score):
            found = scores(choice, request.want.continuations)
            if found is None:
                reason = f'a continuation is not among the {_TOP} likeliest that the server gives'
                return Completion(request.id, None, Failure.REFUSED, reason)
            return Completion(request.id, Scored(found, stats))
        return Completion(request.id, generated(choice, request.want, stats))

    def _refusal(self, request: Request) -> str:
        assert self._capabilities is not None
        if any(isinstance(part, Clip) for part in request.parts):
            return 'a server is shown no clips; set topreward.video to false'
        if not request.chat and not self._capabilities.raw_prompts:
            return 'the server takes no question without its chat template'
        if isinstance(request.want, Score) and not self._capabilities.scores:
            return 'the server gives no probabilities'
        length = sum(len(part) for part in request.parts if isinstance(part, str))
        if length > TEXT_CHARACTERS:
            return f'a question of {length} characters; at most {TEXT_CHARACTERS} can be asked'
        return ''

    def _models(self) -> dict[str, Any]:
        try:
            return call(f'{self._base}/models', _PROBE_S, key=self._key)
        except HTTPFailureError as error:
            if error.status == 404 and not self._base.endswith('/v1'):
                raise HTTPFailureError(404, f'{error}; most addresses end in /v1') from error
            raise

    def _ask(self, request: Request, timeout_s: float) -> dict[str, Any]:
        """Ask once, and once more with all pictures where the server has lost one."""
        end = time.monotonic() + timeout_s
        try:
            return self._post(self._body(request), timeout_s)
        except HTTPFailureError as error:
            if error.status != 400 or not self._sent:
                raise
            self._sent.clear()
            return self._post(self._body(request), max(end - time.monotonic(), 0.0))

    def _post(self, body: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        return call(f'{self._base}/chat/completions', timeout_s, body, self._key)

    def _body(self, request: Request) -> dict[str, Any]:
        content = [
            self._picture(part) if isinstance(part, Frame) else {'type': 'text', 'text': part}
            for part in request.parts
        ]
        body: dict[str, Any] = {
            'model': self._model,
            'messages': [{'role': 'user', 'content': content}],
            'temperature': 0.0,
        }
        wants_number = isinstance(request.want, Score) or bool(request.want.number_tag)
        if wants_number and self._top:
            body |= {'logprobs': True, 'top_logprobs': self._top}
        if not request.chat:
            body |= {'chat_template': _OPEN_TURN, 'add_generation_prompt': False}
        if self._config.cache_salt:
            body['cache_salt'] = self._config.cache_salt
        if isinstance(request.want, Score):
            ids = [self._token_id(text) for text in request.want.continuations]
            if None not in ids:
                body['logprob_token_ids'] = ids
            return {**body, 'max_tokens': 1}
        tokens = request.want.max_new_tokens or self._max_new_tokens
        body['max_tokens'] = min(tokens, self._max_new_tokens)
        if request.want.stop:
            body['stop'] = list(request.want.stop)
            body['include_stop_str_in_output'] = True
        return body

    def _token_id(self, text: str) -> int | None:
        """The one token that ``text`` is, by the server's own tokenizer where it offers that."""
        if text not in self._ids:
            root = self._base.removesuffix('/v1')
            body = {'model': self._model, 'prompt': text, 'add_special_tokens': False}
            try:
                tokens = call(f'{root}/tokenize', _PROBE_S, body, self._key).get('tokens')
            except (HTTPFailureError, TimeoutError):
                tokens = None
            found = tokens if isinstance(tokens, list) and len(tokens) == 1 else [None]
            self._ids[text] = found[0] if isinstance(found[0], int) else None
        return self._ids[text]

    def _picture(self, frame: Frame) -> dict[str, Any]:
        name = hashlib.sha256(repr(frame.image.shape).encode() + frame.image.tobytes()).hexdigest()
        part: dict[str, Any] = {'type': 'image_url', 'image_url': None}
        if not self._keeps_pictures or name not in self._sent:
            done, coded = cv2.imencode('.png', cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR))
            assert done
            url = 'data:image/png;base64,' + base64.b64encode(coded.tobytes()).decode()
            part['image_url'] = {'url': url}
        if self._keeps_pictures:
            part['uuid'] = name
            self._sent[name] = self._sent.pop(name, None)
            if len(self._sent) > _SENT_PICTURES:
                del self._sent[next(iter(self._sent))]
        return part


def _said(error: Exception) -> str:
    if isinstance(error, (HTTPFailureError, TimeoutError)):
        return str(error) or 'no answer in time'
    if isinstance(error, LookupError):
        return f'its answer lacks {error}'
    return f'its answer cannot be read ({type(error).__name__}: {error})'
