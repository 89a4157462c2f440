"""JSON over HTTP with a bound on time, by the standard library alone."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

_REPLY_BYTES = 16 << 20


class HTTPFailureError(RuntimeError):
    """The server answered with an error. ``status`` is its code, 0 where none came."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def check_url(url: str) -> None:
    """Check that ``url`` can be asked.

    :raises ValueError: if it is no http or https address.
    """
    parts = urlsplit(url)
    if parts.scheme not in ('http', 'https') or not parts.hostname:
        raise ValueError(f'{url!r} is no http or https address')


def call(
    url: str, timeout_s: float, body: dict[str, Any] | None = None, key: str = ''
) -> dict[str, Any]:
    """GET ``url``, or POST ``body`` to it, and return the JSON object that comes back.

    :raises TimeoutError: past ``timeout_s``.
    :raises HTTPFailureError: if the server cannot be reached, or what it says is no JSON object.
    """
    check_url(url)
    headers = {'Content-Type': 'application/json'}
    if key:
        headers['Authorization'] = f'Bearer {key}'
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as reply:  # noqa: S310
            found = json.loads(reply.read(_REPLY_BYTES))
    except urllib.error.HTTPError as error:
        text = error.read(2000).decode(errors='replace')
        raise HTTPFailureError(error.code, f'HTTP {error.code}: {_reason(text)}') from error
    except TimeoutError:
        raise
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise error.reason from error
        raise HTTPFailureError(0, f'it cannot be reached ({error.reason})') from error
    except (OSError, ValueError) as error:
        raise HTTPFailureError(0, f'its answer cannot be read ({error})') from error
    if not isinstance(found, dict):
        raise HTTPFailureError(0, 'its answer is no JSON object')
    return found


def _reason(text: str) -> str:
    try:
        found = json.loads(text)
        error = found.get('error', found)
        return str(error.get('message', text) if isinstance(error, dict) else error)[:300]
    except (ValueError, AttributeError):
        return ' '.join(text.split())[:300]
