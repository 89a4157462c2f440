"""JSON over HTTP with a bound on time and size, by the standard library alone."""

from __future__ import annotations

import contextlib
import http.client
import json
import math
import socket
import threading
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

_REPLY_BYTES = 16 << 20


class HTTPFailureError(RuntimeError):
    """The server answered with an error. ``status`` is its code, 0 where none came.

    ``wait_s`` is how long it asks to be left alone, s; 0 where it does not.
    """

    def __init__(self, status: int, message: str, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.status = status
        self.wait_s = wait_s

    @property
    def refuses(self) -> bool:
        """Whether this request is refused, and not all of them for a while."""
        return 400 <= self.status < 500 and self.status not in (408, 425, 429)


def check_url(url: str) -> None:
    """Check that ``url`` can be asked.

    :raises ValueError: if it is no http or https address, or holds a password, which would stand in
        logs and messages. The text never repeats one.
    """
    if '@' in url.partition('://')[2].partition('/')[0]:
        raise ValueError('a name or password before @ is not sent; leave it out')
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ('http', 'https') and parts.hostname and parts.port != 0
    except ValueError:  # of the port, or of an address in brackets
        usable = False
    if not usable or not url.isprintable() or ' ' in url:
        raise ValueError(f'{url!r} is no http or https address')


def call(
    url: str, timeout_s: float, body: dict[str, Any] | None = None, key: str = ''
) -> dict[str, Any]:
    """GET ``url``, or POST ``body`` to it, and return the JSON object that comes back.

    Redirections are not followed: the key would be sent wherever they point.

    :raises TimeoutError: past ``timeout_s`` of wall time, even if the server is still speaking.
    :raises HTTPFailureError: if the server cannot be reached, or what it says is no JSON object.
    """
    check_url(url)
    if timeout_s <= 0.0:
        raise TimeoutError
    headers = {'Content-Type': 'application/json'}
    if key:
        headers['Authorization'] = f'Bearer {key}'
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers)  # noqa: S310
    with _TimeLimit(timeout_s) as limit:
        try:
            found = _read(request, timeout_s, limit)
        except Exception as error:
            # What fails once the time is over fails because the connection was shut.
            if limit.passed:
                raise TimeoutError from error
            raise
    if not isinstance(found, dict):
        raise HTTPFailureError(0, 'its answer is no JSON object')
    return found


class _TimeLimit:
    """Shuts the sockets that it is shown once the time is over, whatever is being read."""

    def __init__(self, seconds: float) -> None:
        self.passed = False
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def __enter__(self) -> _TimeLimit:
        self._timer.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._timer.cancel()

    def watch(self, found: socket.socket) -> None:
        with self._lock:
            self._sockets.append(found)
            if self.passed:
                _shut(found)

    def _end(self) -> None:
        with self._lock:
            self.passed = True
            for item in self._sockets:
                _shut(item)


def _shut(found: socket.socket) -> None:
    with contextlib.suppress(OSError):
        found.shutdown(socket.SHUT_RDWR)


def _read(request: urllib.request.Request, timeout_s: float, limit: _TimeLimit) -> Any:
    opener = urllib.request.build_opener(_NoRedirection, _HTTP(limit), _HTTPS(limit))
    try:
        with opener.open(request, timeout=timeout_s) as reply:
            data = reply.read(_REPLY_BYTES + 1)
    except urllib.error.HTTPError as error:
        with error:
            raise _failure(error) from None
    except TimeoutError:
        raise
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise error.reason from error
        raise HTTPFailureError(0, f'it cannot be reached ({error.reason})') from error
    except (OSError, http.client.HTTPException) as error:
        raise HTTPFailureError(0, f'its answer cannot be read ({_said(error)})') from error
    if len(data) > _REPLY_BYTES:
        raise HTTPFailureError(0, f'its answer has more than {_REPLY_BYTES} bytes')
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise HTTPFailureError(0, f'its answer cannot be read ({_said(error)})') from error


class _NoRedirection(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *described: Any) -> None:
        return None


class _HTTP(urllib.request.HTTPHandler):
    def __init__(self, limit: _TimeLimit) -> None:
        super().__init__()
        self._limit = limit

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_watched(http.client.HTTPConnection, self._limit), req)


class _HTTPS(urllib.request.HTTPSHandler):
    def __init__(self, limit: _TimeLimit) -> None:
        super().__init__()
        self._limit = limit

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_watched(http.client.HTTPSConnection, self._limit), req)


def _watched(kind: Any, limit: _TimeLimit) -> Any:
    """A kind of connection whose socket ``limit`` is shown."""

    class Connection(kind):  # type: ignore[misc]
        def connect(self) -> None:
            super().connect()
            limit.watch(self.sock)

    return Connection


def _failure(error: urllib.error.HTTPError) -> HTTPFailureError:
    if 300 <= error.code < 400:
        target = str(error.headers.get('Location', 'nowhere'))[:200]
        said = f'HTTP {error.code}: it redirects to {target}; name the right address in server.url'
        return HTTPFailureError(error.code, said)
    try:
        text = error.read(2000).decode(errors='replace')
    except (OSError, http.client.HTTPException):
        text = str(error.reason)
    wait_s = 0.0
    with contextlib.suppress(ValueError):
        wait_s = float(error.headers.get('Retry-After', '0'))
    return HTTPFailureError(
        error.code,
        f'HTTP {error.code}: {_reason(text) or error.reason}',
        wait_s if math.isfinite(wait_s) else 0.0,
    )


def _reason(text: str) -> str:
    try:
        found = json.loads(text)
        error = found.get('error', found)
        return str(error.get('message', text) if isinstance(error, dict) else error)[:300]
    except (ValueError, AttributeError, RecursionError):
        return ' '.join(text.split())[:300]


def _said(error: Exception) -> str:
    return ' '.join(str(error).split())[:300] or type(error).__name__
