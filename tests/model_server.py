"""A server with the OpenAI interface on loopback, without a model; it keeps pictures like vLLM."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import cv2
import numpy as np

MISS = 'Cache miss for image at index 0 but data is not provided.'


class ModelServer:
    """Answers with the mean level of the last picture in percent.

    ``keeps`` says whether pictures are kept by uuid, ``probabilities`` whether log-probabilities
    are given, ``pictures`` whether pictures are taken, ``templates`` whether a chat template of the
    request is obeyed; ``tokens`` are the ids of texts that are one token; answers wait for
    ``answering``. ``changed`` makes another answer of an answer, and ``raw`` is what is sent in
    place of it, piece by piece.
    """

    def __init__(self, port: int = 0) -> None:
        self.keeps = self.probabilities = self.pictures = self.templates = True
        self.tokens = {' True': 11, ' False': 12}
        self.answering = threading.Event()
        self.answering.set()
        self.changed: Callable[[dict[str, Any]], Any] = lambda answer: answer
        self.raw: Iterable[bytes] | None = None
        self.models = ['procvlm']
        self.kept: dict[str, float] = {}
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str] = []
        served = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *arguments: object) -> None:
                pass

            def do_GET(self) -> None:
                if self.path != '/v1/models':
                    self.reply(404, {'detail': 'Not Found'})
                    return
                self.reply(200, {'data': [{'id': name} for name in served.models]})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
                if self.path == '/tokenize':
                    number = served.tokens.get(body['prompt'])
                    self.reply(200, {'tokens': [1, 2] if number is None else [number]})
                    return
                served.keys.append(self.headers.get('Authorization', ''))
                served.bodies.append(body)
                served.answering.wait(60)
                if served.raw is not None:
                    with contextlib.suppress(OSError):
                        for piece in served.raw:
                            self.wfile.write(piece)
                    self.close_connection = True
                    return
                status, answer = served.answer(body)
                self.reply(status, served.changed(answer) if status == 200 else answer)

            def reply(self, status: int, content: Any) -> None:
                data = json.dumps(content).encode()
                self.send_response(status)
                self.send_header('Content-Length', str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        self._server = ThreadingHTTPServer(('127.0.0.1', port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f'http://127.0.0.1:{self.port}/v1'

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        levels = []
        for part in body['messages'][0]['content']:
            if part['type'] != 'image_url':
                continue
            if not self.pictures:
                return 400, {'error': {'message': 'this model takes no pictures'}}
            if part['image_url'] is None:
                if part.get('uuid') not in self.kept:
                    return 400, {'error': {'message': MISS}}
                levels.append(self.kept[part['uuid']])
                continue
            coded = base64.b64decode(part['image_url']['url'].split(',')[1])
            levels.append(
                float(cv2.imdecode(np.frombuffer(coded, np.uint8), cv2.IMREAD_COLOR).mean())
            )
            if self.keeps and 'uuid' in part:
                self.kept[part['uuid']] = levels[-1]
        if 'logprobs' in body and not self.probabilities:
            return 400, {'error': {'message': 'logprobs are not supported'}}
        value = f'{levels[-1] / 2.55:.0f}'
        text = f'1. Go on.\nIt is <progress>{value}%'
        choice: dict[str, Any] = {
            'message': {'content': text},
            'finish_reason': 'stop',
            'stop_reason': '</progress>',
        }
        if body.get('logprobs'):
            choice['logprobs'] = {'content': self.logprobs(body, text, value)}
        opened = 'chat_template' in body and self.templates
        usage = {'prompt_tokens': 7 if opened else 12}
        return 200, {'choices': [choice], 'usage': usage}

    def logprobs(self, body: dict[str, Any], text: str, value: str) -> list[dict[str, Any]]:
        """True and False after one token; else the pieces of the text, and the digits above."""
        if body['max_tokens'] == 1:
            wanted = body.get('logprob_token_ids', [11])
            named = {11: (' True', -0.5), 12: (' False', -9.5)}
            top = [{'token': named[i][0], 'logprob': named[i][1]} for i in wanted]
            return [{'token': ' True', 'logprob': -0.5, 'top_logprobs': top}]
        head, _, tail = text.rpartition(value)
        content = []
        for piece in (head, *value, tail):
            top = [{'token': piece, 'logprob': -0.2231435513}]
            if piece.isdigit() and piece != '9':
                top.append({'token': str(int(piece) + 1), 'logprob': -1.6094379124})
            content.append({'token': piece, 'logprob': -0.2231435513, 'top_logprobs': top})
        return content
