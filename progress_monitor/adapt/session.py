"""One recording being annotated, whichever way a person looks at it."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from progress_monitor.adapt import annotation, proposal, published_forms
from progress_monitor.adapt.annotation import Annotation, AnnotationError
from progress_monitor.adapt.proposal import ProposedStage
from progress_monitor.adapt.recording import Recording
from progress_monitor.offline.video import frame_rate
from progress_monitor.vlm.errors import VLMError


@dataclass
class Session:
    """A recording, what is said of it so far, and where that is kept.

    ``out`` holds the annotations of one or more recordings; ``export``, if any, is written in the
    published form beside it each time. ``model`` is a checkpoint's folder or hub name, empty: none.
    ``current`` is what was read or saved last.
    """

    recording: Recording
    task: str
    out: Path
    export: Path | None = None
    model: str = ''
    current: Annotation | None = None
    _proposing: threading.Lock = field(default_factory=threading.Lock)

    def propose(self, use_model: bool, task: str, stages: int) -> tuple[ProposedStage, ...]:
        """Stages for a person to correct; see ``proposal``. Waits for one that is being made.

        :raises OSError: if the recording cannot be read.
        :raises ValueError: if there is no model, it cannot be loaded, or it lists no steps.
        """
        with self._proposing:
            if not use_model:
                return proposal.from_motion(self.recording, stages)
            if not self.model:
                raise ValueError('no model was named; start with --model to have it list the steps')
            try:
                return proposal.from_model(self.recording, task, self.model)
            except VLMError as error:
                raise ValueError(f'{self.model}: {error}') from error

    def save(self, entry: Mapping[str, Any]) -> Annotation:
        """Check and write what is said of the recording: task, stages, done and reason.

        An earlier annotation of the same videos in the file is replaced; others stay.

        :raises OSError: if a file cannot be written.
        :raises AnnotationError: naming the field that cannot be used.
        """
        videos = [os.path.abspath(video) for video in self.recording.videos]
        item = annotation.from_entry({**entry, 'videos': videos}, Path())
        end_s, duration_s = item.stages[-1].end_s, self.recording.duration_s
        if end_s > duration_s + 1e-3:
            raise AnnotationError(
                f'stages: the last ends at {end_s:g} s, but the recording at {duration_s:g} s'
            )
        form = published_forms.to_sub_tasks(item, self.recording.fps, self.recording.frames)
        others = [other for other in _read(self.out) if _files(other) != videos]
        annotation.write([*others, item], self.out)
        if self.export is not None:
            published_forms.write_sub_tasks(form, self.export)
        self.current = item
        self.task = item.task
        return item


def earlier(out: Path, videos: tuple[Path, ...]) -> Annotation | None:
    """What ``out`` says of ``videos`` already; None: nothing.

    :raises OSError: if it cannot be read.
    :raises AnnotationError: if it is no file of annotations.
    """
    wanted = [os.path.abspath(video) for video in videos]
    return next((item for item in _read(out) if _files(item) == wanted), None)


def from_published(path: Path, task: str, videos: tuple[Path, ...]) -> Annotation:
    """What the published form in ``path`` says of ``videos``, whose first one it numbers.

    :raises OSError: if it cannot be read.
    :raises ValueError: if it is no such form, or says what an annotation cannot.
    """
    form = published_forms.read_sub_tasks(path)
    try:
        return published_forms.from_sub_tasks(form, task, videos, frame_rate(videos[0]))
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from None


def _read(path: Path) -> tuple[Annotation, ...]:
    return annotation.read(path) if path.exists() else ()


def _files(item: Annotation) -> list[str]:
    return [os.path.abspath(video) for video in item.videos]
