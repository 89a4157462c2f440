"""Bounds on a request that hold for every model. Imports no torch.

They are checked before anything is sent or computed, so that one bad request costs that request.
"""

from __future__ import annotations

from progress_monitor.printable import is_unicode
from progress_monitor.types import Request, Score
from progress_monitor.vlm.errors import RequestRefused

MAX_TEXT_CHARACTERS = 32_768
MAX_FRAMES = 256
MAX_CONTINUATIONS = 64


def check_request(request: Request) -> None:
    """Check the parts of ``request`` by their number and length.

    :raises RequestRefused: if it shows no text, text that is not Unicode, or more text, frames or
        continuations than bounded.
    """
    texts = [part for part in request.parts if isinstance(part, str)]
    if not any(texts):
        raise RequestRefused('the request holds no text: there is nothing to answer')
    frames = len(request.frames)
    if frames > MAX_FRAMES:
        raise RequestRefused(
            f'the request shows {frames} frames, {MAX_FRAMES} at most; lower window.max_images'
        )
    if not all(map(is_unicode, texts)):
        raise RequestRefused('the text of the request is not valid Unicode')
    length = sum(map(len, texts))
    if isinstance(request.want, Score):
        continuations = request.want.continuations
        if not continuations:
            raise RequestRefused('the request names no continuation to score')
        if not all(continuations):
            raise RequestRefused('a continuation to score is empty')
        if len(continuations) > MAX_CONTINUATIONS:
            raise RequestRefused(
                f'the request names {len(continuations)} continuations, {MAX_CONTINUATIONS} at most'
            )
        length += sum(map(len, continuations))
    if length > MAX_TEXT_CHARACTERS:
        raise RequestRefused(
            f'the text of the request has {length} characters, {MAX_TEXT_CHARACTERS} at most; '
            'shorten the task'
        )
