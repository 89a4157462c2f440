"""Annotating a recording in a browser: a page served by this process, which needs no network.

Whoever can reach the page can read the recording and write the annotation, so it is served on the
loopback address unless told otherwise, and elsewhere asks for a token. Requests that another
site's page makes the browser send are refused by their ``Host``, ``Origin`` and content type.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import re
import secrets
import socket
import sys
from collections.abc import Callable
from dataclasses import asdict
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs, urlsplit

from progress_monitor.adapt.session import Session
from progress_monitor.printable import printable

_LARGEST_BODY = 1_048_576
_COOKIE = 'progress_monitor_annotate'
_PAGE = {
    '/': ('index.html', 'text/html; charset=utf-8'),
    '/annotate.css': ('annotate.css', 'text/css; charset=utf-8'),
    '/annotate.js': ('annotate.js', 'text/javascript; charset=utf-8'),
    '/timeline.js': ('timeline.js', 'text/javascript; charset=utf-8'),
    '/player.js': ('player.js', 'text/javascript; charset=utf-8'),
}
_FRAME = re.compile(r'/frames/(\d{1,3})/(\d{1,7})\.jpg', re.ASCII)
_HEADERS = {
    'Content-Security-Policy': (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    'Cross-Origin-Resource-Policy': 'same-origin',
    'Referrer-Policy': 'no-referrer',
    'X-Content-Type-Options': 'nosniff',
}


class _Refused(Exception):
    """A request is refused: a status, and a sentence that says why."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class AnnotationServer(ThreadingHTTPServer):
    """Serves the page for one ``session``.

    :param host: address to listen on; on another than loopback the page asks for ``token``.
    :param port: 0 takes a free one.
    :raises OSError: if it cannot listen there.
    """

    daemon_threads = True

    def __init__(self, session: Session, host: str, port: int) -> None:
        self.session = session
        self.token = '' if _is_loopback(host) else secrets.token_urlsafe(24)
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as error:
            raise OSError(f'{host} port {port}: {error}; give another --host or --port') from error

    @property
    def url(self) -> str:
        """Where the page is, with the token if one is asked for."""
        host, port = self.server_address[:2]
        if host in ('0.0.0.0', ''):  # noqa: S104  the address of no machine, and of every one
            host = socket.gethostname()
        query = f'?token={self.token}' if self.token else ''
        return f'http://{host!s}:{port}/{query}'

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say in one line what went wrong; a browser that went away is not worth one."""
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError | TimeoutError):
            print(f'annotate: {type(error).__name__}: {error}', file=sys.stderr)


def serve(session: Session, host: str, port: int) -> None:
    """Serve the page until interrupted.

    :raises OSError: if the address cannot be listened on.
    """
    with AnnotationServer(session, host, port) as server:
        print(f'open {server.url} in a browser; Ctrl+C ends', flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print(file=sys.stderr)


class _Handler(BaseHTTPRequestHandler):
    server: AnnotationServer
    protocol_version = 'HTTP/1.1'
    server_version = 'annotate'
    sys_version = ''
    timeout = 60

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not worth a line each."""

    def _answer(self, method: Callable[[str], None]) -> None:
        try:
            self._check_host()
            target = urlsplit(self.path)
            if self._signed_in(target.query):
                return
            method(target.path)
        except _Refused as refused:
            # What is left of the request's body would be read as the next request.
            self.close_connection = True
            self._send_json({'error': str(refused)}, refused.status)
        except (OSError, ValueError) as error:
            if isinstance(error, ConnectionError | TimeoutError):
                raise
            self._send_json({'error': str(error)}, HTTPStatus.UNPROCESSABLE_ENTITY)

    def _check_host(self) -> None:
        """On loopback only its own names: a site whose name is made to lead here has another."""
        host = self.headers.get('Host', '')
        if not self.server.token:
            try:
                name = urlsplit(f'//{host}').hostname or ''
            except ValueError:
                name = ''
            if name != 'localhost' and not _is_loopback(name):
                raise _Refused(HTTPStatus.FORBIDDEN, f'no page of {printable(host, 80)} is here')
        origin = self.headers.get('Origin')
        if origin is not None and origin != f'http://{host}':
            raise _Refused(HTTPStatus.FORBIDDEN, 'another site asked for this')
        # A link to the page itself may stand anywhere.
        is_page = self.command == 'GET' and urlsplit(self.path).path == '/'
        site = self.headers.get('Sec-Fetch-Site', 'none')
        if site not in ('same-origin', 'none') and not is_page:
            raise _Refused(HTTPStatus.FORBIDDEN, 'another site asked for this')

    def _signed_in(self, query: str) -> bool:
        """Check the token; whether the request was answered by taking it out of the address."""
        token = self.server.token
        if not token:
            return False
        given = parse_qs(query).get('token', [''])[0]
        if self.command == 'GET' and _equal(given, token):
            self.send_response(HTTPStatus.SEE_OTHER)
            self.send_header('Location', '/')
            cookie = f'{self._cookie_name}={token}; HttpOnly; SameSite=Strict; Path=/'
            self.send_header('Set-Cookie', cookie)
            self.send_header('Content-Length', '0')
            self._end()
            return True
        cookies = (item.strip() for item in self.headers.get('Cookie', '').split(';'))
        if not any(_equal(item, f'{self._cookie_name}={token}') for item in cookies):
            raise _Refused(
                HTTPStatus.FORBIDDEN, 'open the address that was printed, with its token'
            )
        return False

    @property
    def _cookie_name(self) -> str:
        # Browsers do not tell the ports of a host apart.
        return f'{_COOKIE}_{self.server.server_address[1]}'

    def _get(self, path: str) -> None:
        if path in _PAGE:
            name, kind = _PAGE[path]
            content = files('progress_monitor.adapt').joinpath('page').joinpath(name).read_bytes()
            self._send(content, kind, 'no-cache')
        elif path == '/recording.json':
            self._send_json(self._recording())
        elif frame := _FRAME.fullmatch(path):
            try:
                data = self.server.session.recording.jpeg(int(frame[1]), int(frame[2]))
            except IndexError as error:
                raise _Refused(HTTPStatus.NOT_FOUND, str(error)) from None
            self._send(data, 'image/jpeg', 'private, max-age=3600')
        else:
            raise _Refused(HTTPStatus.NOT_FOUND, 'there is no such page')

    def _recording(self) -> dict[str, Any]:
        session = self.server.session
        recording, current = session.recording, session.current
        return {
            'task': session.task,
            'cameras': [
                {'name': name, 'width': width, 'height': height}
                for name, (width, height) in zip(recording.cameras, recording.sizes, strict=True)
            ],
            'fps': recording.fps,
            'frames': recording.frames,
            # Told apart from one of another recording by the browser's cache of pictures.
            'id': f'{id(recording):x}',
            'out': str(session.out),
            'model': session.model,
            'stages': [asdict(stage) for stage in current.stages] if current else [],
            'done': current.done if current else True,
            'reason': current.reason if current else '',
        }

    def _post(self, path: str) -> None:
        body = self._body()
        session = self.server.session
        if path == '/annotation':
            session.save(body)
            self._send_json({'saved': str(session.out)})
        elif path == '/proposal':
            task, stages = body.get('task', ''), body.get('stages', 0)
            if not isinstance(task, str) or not isinstance(stages, int) or not 0 <= stages <= 64:
                raise ValueError('stages: must be a whole number from 0 to 64')
            proposed = session.propose(body.get('model') is True, task, stages)
            self._send_json({'stages': [asdict(stage) for stage in proposed]})
        else:
            raise _Refused(HTTPStatus.NOT_FOUND, 'there is no such page')

    def _body(self) -> dict[str, Any]:
        # A form of another site cannot send this type without asking first.
        if self.headers.get_content_type() != 'application/json':
            raise _Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, 'JSON is wanted')
        length = self.headers.get('Content-Length', '')
        if not re.fullmatch(r'\d{1,12}', length, re.ASCII):
            raise _Refused(HTTPStatus.LENGTH_REQUIRED, 'the length of the body is wanted')
        if int(length) > _LARGEST_BODY:
            raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f'more than {_LARGEST_BODY} bytes')
        data = self.rfile.read(int(length))
        try:
            body = json.loads(data)
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            raise _Refused(HTTPStatus.BAD_REQUEST, 'the body is no object in JSON')
        return body

    def _send_json(self, content: Any, status: HTTPStatus = HTTPStatus.OK) -> None:
        data = json.dumps(content).encode()
        self._send(data, 'application/json', 'no-store', status)

    def _send(
        self, data: bytes, kind: str, caching: str, status: HTTPStatus = HTTPStatus.OK
    ) -> None:
        self.send_response(status)
        self.send_header('Content-Type', kind)
        self.send_header('Content-Length', str(len(data)))
        self.send_header('Cache-Control', caching)
        self._end()
        if self.command != 'HEAD':
            self.wfile.write(data)

    def _end(self) -> None:
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.end_headers()


def _is_loopback(host: str) -> bool:
    if host == 'localhost':
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _equal(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(), wanted.encode())
