"""A model hub on loopback that serves one folder, and can be slow, cut off or silent."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = '0123456789abcdef0123456789abcdef01234567'
NAME = 'somebody/tiny-model'
BLOCK = 4096


class LocalHub(ThreadingHTTPServer):
    """Serves ``files``. ``requests``, ``served`` and ``starts`` tell what was asked for,
    how many bytes were sent, and from which byte on."""

    daemon_threads = True

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(('127.0.0.1', 0), _Handler)
        self.files = files
        self.requests: list[tuple[str, str]] = []
        self.served: dict[str, int] = {}
        self.starts: list[tuple[str, int]] = []
        self.cut_after: int | None = None
        """Bytes of a safetensors answer after which the connection is closed, once."""
        self.silent_after: int | None = None
        """Bytes of a safetensors answer after which nothing more is sent until ``released``."""
        self.on_block: Callable[[], None] = lambda: None
        self.ranges = True
        self.released = threading.Event()

    @property
    def endpoint(self) -> str:
        return f'http://127.0.0.1:{self.server_address[1]}'

    def downloads(self) -> list[str]:
        return [path for _, path in self.requests if '/resolve/' in path]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    server: LocalHub

    def do_GET(self) -> None:
        hub = self.server
        path = self.path.split('?')[0]
        hub.requests.append((self.command, path))
        if path.startswith(f'/api/models/{NAME}'):
            self._json({'id': NAME, 'sha': COMMIT, 'siblings': [*map(_sibling, hub.files.items())]})
        elif path.startswith(f'/{NAME}/resolve/{COMMIT}/'):
            self._file(path.rsplit('/', 1)[1])
        else:
            self.send_error(404)

    def _json(self, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _file(self, name: str) -> None:
        hub = self.server
        body = hub.files[name]
        start = 0
        if hub.ranges and (asked := self.headers.get('Range')):
            start = int(asked.removeprefix('bytes=').rstrip('-'))
        hub.starts.append((name, start))
        self.send_response(206 if start else 200)
        self.send_header('Content-Length', str(len(body) - start))
        if start:
            self.send_header('Content-Range', f'bytes {start}-{len(body) - 1}/{len(body)}')
        self.end_headers()
        large = name.endswith('.safetensors')
        for place in range(start, len(body), BLOCK):
            sent = place - start
            if large and hub.silent_after is not None and sent >= hub.silent_after:
                hub.released.wait(60)
                break
            if large and hub.cut_after is not None and sent >= hub.cut_after:
                hub.cut_after = None
                break
            block = body[place : place + BLOCK]
            try:
                self.wfile.write(block)
                self.wfile.flush()
            except OSError:
                break
            hub.on_block()
            hub.served[name] = hub.served.get(name, 0) + len(block)
        else:
            return
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _sibling(item: tuple[str, bytes]) -> dict[str, Any]:
    name, body = item
    blob = hashlib.sha1(b'blob %d\0' % len(body) + body, usedforsecurity=False).hexdigest()
    found: dict[str, Any] = {'rfilename': name, 'size': len(body), 'blobId': blob}
    if name.endswith('.safetensors'):
        sha256 = hashlib.sha256(body).hexdigest()
        found['lfs'] = {'sha256': sha256, 'size': len(body), 'pointerSize': 134}
    return found


@contextmanager
def serving(folder: Path) -> Iterator[LocalHub]:
    """Serve the files of a folder for as long as the context lasts."""
    hub = LocalHub({path.name: path.read_bytes() for path in folder.iterdir()})
    thread = threading.Thread(target=hub.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield hub
    finally:
        hub.released.set()
        hub.shutdown()
        thread.join()
        hub.server_close()
