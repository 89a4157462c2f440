"""Answers of the model, kept outside the repository, so that judging anew costs no inference."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from progress_monitor.types import (
    NAN,
    Answer,
    Backend,
    BackendState,
    BackendStatus,
    Completion,
    DecodeStats,
    Frame,
    Prompt,
)


class RememberingBackend:
    """Answers inside ``submit``: from the folder if the very same prompt was answered before.

    :param load: makes the model's backend; called at the first prompt that is new.
    :param folder: of one checkpoint's answers; several processes may share it, each with a
        ``writer`` of its own.
    """

    def __init__(self, load: Callable[[], Backend], folder: Path, writer: str) -> None:
        self._load = load
        self._model: Backend | None = None
        self._known: dict[str, tuple[str, float, float]] = {}
        self._hashes: dict[int, bytes] = {}
        self._done: Completion | None = None
        folder.mkdir(parents=True, exist_ok=True)
        for file in sorted(folder.glob('*.jsonl')):
            for line in file.read_text().splitlines():
                try:
                    key, text, number, std = json.loads(line)
                except ValueError:
                    # The last line of a run that was cut off.
                    continue
                self._known[key] = (
                    text, NAN if number is None else number, NAN if std is None else std
                )  # fmt: skip
        self._file = folder / f'{writer.replace("/", "of")}.jsonl'

    def status(self) -> BackendStatus:
        return BackendStatus(BackendState.READY)

    def submit(self, prompt: Prompt) -> None:
        key = self._key(prompt)
        if key not in self._known:
            self._model = self._model or self._load()
            self._model.submit(prompt)
            completion = self._model.poll()
            if completion is None or completion.answer is None:
                self._done = completion
                return
            answer = completion.answer
            self._known[key] = (answer.text, answer.number, answer.number_std)
            numbers = [
                None if value != value else round(value, 4) for value in self._known[key][1:]
            ]
            with self._file.open('a') as file:
                file.write(json.dumps([key, answer.text, *numbers]) + '\n')
        text, number, std = self._known[key]
        answer = Answer(text, (), 'tag', DecodeStats(0.0), number=number, number_std=std)
        self._done = Completion(answer)

    def poll(self) -> Completion | None:
        done, self._done = self._done, None
        return done

    def close(self) -> None:
        if self._model is not None:
            self._model.close()

    def _key(self, prompt: Prompt) -> str:
        digest = hashlib.sha256(prompt.text.encode())
        shown = {frame.uid: self._hashes.get(frame.uid) or _hash(frame) for frame in prompt.frames}
        for frame in prompt.frames:
            digest.update(shown[frame.uid])
        self._hashes = shown
        return digest.hexdigest()[:24]


def _hash(frame: Frame) -> bytes:
    return hashlib.sha256(frame.image.tobytes()).digest()[:16]
