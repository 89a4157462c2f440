"""The backend on a server, against a server on loopback."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time

import jinja2
import judging
import numpy as np
import pytest
from model_server import ModelServer

from progress_monitor.backends import openai as module
from progress_monitor.backends.openai import OpenAIBackend
from progress_monitor.backends.server_config import ServerConfig
from progress_monitor.monitor import ProgressMonitor
from progress_monitor.parameters import ParameterError
from progress_monitor.types import (
    BackendState,
    Failure,
    Finish,
    Frame,
    Generate,
    Request,
    Score,
    State,
)

WANT = Generate(stop=('</progress>', '</Progress>'))
NUMBER = Generate(stop=('</progress>', '</Progress>'), number_tag='progress')
_ids = itertools.count(1)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(module, 'FIRST_DELAY_S', 0.02)
    with contextlib.closing(ModelServer()) as made:
        yield made


@contextlib.contextmanager
def connected(server, deadline_s=20.0, state=BackendState.READY, **values):
    backend = OpenAIBackend(ServerConfig(url=server.url, **values), deadline_s, 64)
    with contextlib.closing(backend):
        wait_for(lambda: backend.status().state is state)
        yield backend


def wait_for(condition):
    end = time.monotonic() + 60.0
    while not condition():
        assert time.monotonic() < end, 'it did not happen'
        time.sleep(0.005)


def picture(uid, level):
    return Frame(uid, 'camera', uid, np.full((64, 96, 3), level, np.uint8))


def question(*levels, want=WANT, chat=True, text='How far?'):
    frames = [picture(uid, level) for uid, level in enumerate(levels)]
    return Request(next(_ids), 's', (*frames, text), want, chat)


def ask(backend, request):
    backend.submit(request)
    found = []

    def came():
        completion = backend.poll()
        found.extend([completion] if completion is not None else [])
        return bool(found)

    wait_for(came)
    assert found[0].request_id == request.id
    return found[0]


def test_an_answer_holds_its_stop_and_says_what_it_cost(server):
    with connected(server) as backend:
        answer = ask(backend, question(10, 102)).answer
    assert answer.text == '1. Go on.\nIt is <progress>40%</progress>'
    assert answer.finish is Finish.STOP
    assert answer.stats.total_ms > 0.0
    assert answer.stats.prompt_tokens == 12
    body = server.bodies[-1]
    assert body['temperature'] == 0.0
    assert body['max_tokens'] == 64
    assert [part['type'] for part in body['messages'][0]['content']] == [
        'image_url', 'image_url', 'text',
    ]  # fmt: skip


def test_a_picture_is_sent_once_and_again_after_the_server_has_lost_it(server):
    with connected(server) as backend:
        assert 'kept by the server' in backend.status().message
        ask(backend, question(10, 20))
        ask(backend, question(10, 20, 51))
        sent = [part.get('image_url') for part in server.bodies[-1]['messages'][0]['content'][:3]]
        assert [item is not None for item in sent] == [False, False, True]
        server.kept.clear()
        assert '<progress>20%' in ask(backend, question(10, 20, 51)).answer.text
        assert server.kept


def test_two_pictures_are_never_taken_for_one(server):
    """The uuid is the server's only key, so it must follow from the content and nothing else."""
    with connected(server) as backend:
        first = ask(backend, Request(next(_ids), 's', (picture(7, 51), 'x'), WANT))
        second = ask(backend, Request(next(_ids), 's', (picture(7, 102), 'x'), WANT))
    assert '20%' in first.answer.text
    assert '40%' in second.answer.text


def test_a_server_that_keeps_no_pictures_is_sent_all_of_them(server):
    server.keeps = False
    with connected(server) as backend:
        assert 'pictures go every time' in backend.status().message
        assert '20%' in ask(backend, question(10, 51)).answer.text
        assert '20%' in ask(backend, question(10, 51)).answer.text


def test_continuations_are_scored_after_a_turn_that_is_left_open(server):
    want = Score((' True', ' False'))
    with connected(server) as backend:
        assert backend.capabilities().scores
        assert backend.capabilities().raw_prompts
        asked = ask(backend, question(1, want=want, chat=False))
        assert asked.answer.log_probabilities == (-0.5, -9.5)
        body = server.bodies[-1]
        assert body['logprob_token_ids'] == [11, 12]
        assert body['max_tokens'] == 1
        assert body['add_generation_prompt'] is False
        turn = jinja2.Template(body['chat_template']).render(
            messages=[
                {'role': 'user', 'content': [{'type': 'image'}, {'type': 'text', 'text': 'x'}]}
            ]
        )
        assert turn == '<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>x'
        other = ask(backend, question(1, want=Score((' Maybe',)), chat=False))
        assert other.failure is Failure.REFUSED


def test_a_server_that_keeps_to_its_own_template_is_found_out(server):
    server.templates = False
    with connected(server) as backend:
        assert not backend.capabilities().raw_prompts
        assert 'no turn but its own' in backend.status().message
        raw = ask(backend, question(1, want=Score((' True', ' False')), chat=False))
        assert raw.failure is Failure.REFUSED
        assert 'chat template' in raw.message


def test_a_server_without_probabilities_answers_texts_alone(server):
    server.probabilities = False
    with connected(server) as backend:
        assert not backend.capabilities().scores
        refused = ask(backend, question(1, want=Score((' True', ' False'))))
        assert refused.failure is Failure.REFUSED
        answer = ask(backend, question(102, want=NUMBER)).answer
    assert '40%' in answer.text
    assert answer.number == ()


def test_the_number_comes_as_a_distribution(server):
    with connected(server) as backend:
        number = dict(ask(backend, question(102, want=NUMBER)).answer.number)
    # 40, 41 by its last digit, and 50 for the least number that begins with a five.
    assert number == pytest.approx({40.0: 0.64, 41.0: 0.16, 50.0: 0.2}, abs=1e-6)


def test_a_strategy_that_the_server_cannot_serve_is_named_before_a_question(server):
    server.templates = False
    with connected(server) as backend:
        monitor = ProgressMonitor(judging.config(strategy='combined'), backend)
        monitor.set_task(judging.TASK, 0)
        asked = len(server.bodies)
        updates = judging.play(monitor, judging.live(4.0), 4.0)
        assert len(server.bodies) == asked
    assert updates[-1].state is State.ERROR
    assert 'the strategy combined asks for probabilities' in updates[-1].message
    assert 'backend' in updates[-1].message


def test_one_refused_request_costs_itself(server):
    with connected(server) as backend:
        server.pictures = False
        refused = ask(backend, question(1))
        assert refused.failure is Failure.REFUSED
        assert 'takes no pictures' in refused.message
        server.pictures = True
        assert ask(backend, question(1)).answer is not None
        assert ask(backend, question(1, text='x' * 30_000)).failure is Failure.REFUSED


def test_a_late_answer_is_late_and_the_next_is_asked(server):
    with connected(server, deadline_s=0.3) as backend:
        server.answering.clear()
        late = ask(backend, question(1))
        assert late.failure is Failure.LATE
        assert 'deadline_s' in late.message
        server.answering.set()
        wait_for(lambda: ask(backend, question(1)).answer is not None)


def test_a_server_that_goes_and_comes_back_is_found_again(server):
    with connected(server) as backend:
        server.close()
        assert ask(backend, question(1)).failure is Failure.LOST
        wait_for(lambda: backend.status().state is BackendState.FAILED)
        assert 'cannot be reached' in backend.status().message
        with pytest.raises(RuntimeError, match='failed'):
            backend.submit(question(1))
        again = ModelServer(server.port)
        with contextlib.closing(again):
            wait_for(lambda: backend.status().state is BackendState.READY)
            assert ask(backend, question(51)).answer is not None


@pytest.mark.parametrize(
    ('models', 'pictures', 'said'),
    [(['a', 'b'], True, 'a, b'), ([], True, 'no model'), (['a'], False, 'takes no pictures')],
)
def test_a_server_that_is_of_no_use_is_found_out_at_the_start(server, models, pictures, said):
    server.models, server.pictures = models, pictures
    with connected(server, state=BackendState.FAILED) as backend:
        assert said in backend.status().message


def test_a_cancelled_request_never_completes(server):
    with connected(server) as backend:
        server.answering.clear()
        first, second = question(1), question(1)
        backend.submit(first)
        backend.submit(second)
        backend.cancel(first.id)
        server.answering.set()
        found = []

        def came():
            completion = backend.poll()
            found.extend([completion] if completion is not None else [])
            return bool(found)

        wait_for(came)
        assert found[0].request_id == second.id


def test_the_key_comes_from_the_environment(server, monkeypatch):
    with pytest.raises(ParameterError, match=r'server\.key_variable.*NO_SUCH'):
        OpenAIBackend(ServerConfig(url=server.url, key_variable='NO_SUCH'), 1.0, 1)
    monkeypatch.setenv('ROBOT_KEY', 'secret')
    with connected(server, key_variable='ROBOT_KEY', cache_salt='robot-1') as backend:
        ask(backend, question(1))
    assert server.keys[-1] == 'Bearer secret'
    assert server.bodies[-1]['cache_salt'] == 'robot-1'


@pytest.mark.parametrize(
    'url',
    [
        '',
        'file:///etc/passwd',
        'gpu-box:8000',
        'http://',
        'http://gpu-box:8000a/v1',
        'http://gpu-box:80800/v1',
        'http://[::1/v1',
        'http://gpu box:8000/v1',
        'http://gpu-box:8000/v1\n',
    ],
)
def test_an_address_that_is_none_is_refused_by_name(url):
    with pytest.raises(ParameterError, match=r'server\.url'):
        OpenAIBackend(ServerConfig(url=url), 1.0, 1)


def test_a_password_in_an_address_is_refused_and_repeated_nowhere():
    with pytest.raises(ParameterError, match=r'server\.url: a name or password') as refused:
        OpenAIBackend(ServerConfig(url='http://robot:secret@gpu-box:8000/v1'), 1.0, 1)
    assert 'secret' not in str(refused.value)


def ended_by(finish, text='1. Go on.\nIt is <progress>40%', **more):
    """An answer of a server that cuts the stop off, as it says that in its own way."""

    def change(answer):
        answer['choices'][0] = {'message': {'content': text}, 'finish_reason': finish, **more}
        return answer

    return change


@pytest.mark.parametrize(
    ('change', 'text', 'finish'),
    [
        # vLLM, SGLang; llama.cpp and Ollama; one that ran into its limit.
        (ended_by('stop', stop_reason='</Progress>'), '<progress>40%</Progress>', Finish.STOP),
        (ended_by('stop', matched_stop='</progress>'), '<progress>40%</progress>', Finish.STOP),
        (ended_by('stop', matched_stop=151645), '<progress>40%</progress>', Finish.STOP),
        (ended_by('stop'), '<progress>40%</progress>', Finish.STOP),
        (ended_by('length'), '<progress>40%', Finish.TOKEN_LIMIT),
        (ended_by('stop', 'It is <progress>40%</progress> now'), '</progress> now', Finish.END),
        (ended_by('stop', 'I cannot tell.'), 'I cannot tell.', Finish.END),
        (ended_by('abort'), '<progress>40%', Finish.END),
    ],
)
def test_a_stop_that_the_server_cuts_off_is_put_back(server, change, text, finish):
    with connected(server) as backend:
        server.changed = change
        answer = ask(backend, question(10)).answer
    assert answer.text.endswith(text)
    assert answer.finish is finish


def answered(message):
    return lambda answer: {**answer, 'choices': [{'message': message, 'finish_reason': 'length'}]}


@pytest.mark.parametrize(
    ('message', 'text'),
    [
        ({'content': None, 'reasoning_content': 'The block'}, '<think>The block'),
        ({'content': '', 'reasoning': 'The block'}, '<think>The block'),
        ({'content': 'Done', 'reasoning_content': 'The block'}, 'Done'),
        ({'content': [{'type': 'text', 'text': 'Do'}, {'text': 'ne'}]}, 'Done'),
        ({'content': None, 'tool_calls': [{'type': 'function'}]}, ''),
    ],
)
def test_messages_of_all_shapes_are_read(server, message, text):
    with connected(server) as backend:
        server.changed = answered(message)
        assert ask(backend, question(10)).answer.text == text


HOSTILE = [
    {'choices': []},
    {'choices': None},
    {'choices': [{'message': None}]},
    {'choices': [{'message': 'text'}]},
    {'choices': [{'message': {'content': 'x'}, 'logprobs': [1]}]},
    {'choices': [{'message': {'content': 'x'}, 'logprobs': {'content': [{'token': 1}, 2]}}]},
    {'error': {'message': 'of the server'}},
]


@pytest.mark.parametrize('reply', HOSTILE)
def test_an_answer_that_cannot_be_read_costs_itself(server, reply):
    with connected(server) as backend:
        server.changed = lambda answer: reply
        found = ask(backend, question(10, want=NUMBER))
        assert (found.answer, found.failure) == (None, Failure.REFUSED)
        assert 'cannot be read' in found.message
        server.changed = lambda answer: {**answer, 'usage': [float('inf')]}
        assert ask(backend, question(10)).answer.stats.prompt_tokens == 0


HEAD = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n'
NESTED = b'[' * 100_000


@pytest.mark.parametrize(
    ('raw', 'said'),
    [
        (b'no http at all\r\n\r\n', 'cannot be read'),
        (b'', 'closed connection'),
        (HEAD + b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"cho', 'cannot be read'),
        (HEAD + b'Transfer-Encoding: chunked\r\n\r\nzz\r\n', 'cannot be read'),
        (HEAD + b'Content-Length: 999\r\n\r\n{"choices": [', 'cannot be read'),
        (HEAD + b'X: y\r\n' * 200 + b'\r\n{}', 'cannot be read'),
        (HEAD + b'\r\n' + NESTED, 'cannot be read'),
        (HEAD + b'Content-Encoding: gzip\r\n\r\n\x1f\x8b\x08\x00', 'cannot be read'),
        (HEAD + b'\r\ndata: {"choices": []}\n\ndata: [DONE]\n\n', 'cannot be read'),
        (HEAD + b'\r\n[1, 2]', 'no JSON object'),
        (b'HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n', 'redirects to'),
        (b'HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nRetry-After: 1e999\r\n\r\n', '503: Busy'),
        (b'HTTP/1.1 429 Slow down\r\nRetry-After: 0\r\n\r\n{"error": {}}', 'HTTP 429'),
    ],
)
def test_what_is_no_answer_loses_the_server_until_it_answers_again(server, raw, said):
    with connected(server) as backend:
        server.raw = [raw]
        found = ask(backend, question(10))
        assert (found.answer, found.failure) == (None, Failure.LOST)
        assert said in found.message
        wait_for(lambda: backend.status().state is BackendState.FAILED)
        server.raw = None
        wait_for(lambda: backend.status().state is BackendState.READY)
        assert ask(backend, question(10)).answer is not None


def test_a_server_is_left_alone_as_long_as_it_asks(server, monkeypatch, caplog):
    monkeypatch.setattr(module, 'LONGEST_DELAY_S', 0.3)
    with connected(server) as backend:
        server.raw = [b'HTTP/1.1 429 Slow down\r\nRetry-After: 600\r\n\r\n']
        assert ask(backend, question(10)).failure is Failure.LOST
        wait_for(lambda: 'asking again in 0.3 s' in caplog.text)
        server.raw = None
        wait_for(lambda: backend.status().state is BackendState.READY)
        # Being busy says nothing of what the server can do.
        assert 'probabilities are given' in backend.status().message


def test_a_server_that_never_ends_its_answer_is_late(server):
    leave = threading.Event()

    def drips():
        yield HEAD + b'\r\n{"choices": ['
        while not leave.wait(0.02):
            yield b' '

    with connected(server, deadline_s=0.4) as backend:
        server.raw = drips()
        found = ask(backend, question(10))
        assert found.failure is Failure.LATE
        server.raw = None
        assert ask(backend, question(10)).answer is not None
    leave.set()


def test_the_key_is_not_taken_elsewhere(server, monkeypatch):
    monkeypatch.setenv('ROBOT_KEY', 'secret')
    with contextlib.closing(ModelServer()) as other:
        server.raw = [
            f'HTTP/1.1 307 Moved\r\nLocation: {other.url}/chat/completions\r\n\r\n'.encode()
        ]
        with connected(server, state=BackendState.FAILED, key_variable='ROBOT_KEY') as backend:
            assert f'redirects to {other.url}' in backend.status().message
        assert not other.keys


def test_a_server_that_passes_over_names_of_pictures_is_sent_them(server):
    """Such a server would answer of no picture at all."""
    server.keeps = False
    whole = server.answer

    def blind(body):
        parts = body['messages'][0]['content']
        if any(part.get('image_url', '') is None for part in parts):
            return 200, {'choices': [{'message': {'content': 'I see nothing'}}]}
        return whole(body)

    server.answer = blind
    with connected(server) as backend:
        assert 'pictures go every time' in backend.status().message
        for _ in range(2):
            assert '<progress>40%' in ask(backend, question(102)).answer.text


def test_what_was_sent_is_not_remembered_for_ever(server, monkeypatch):
    monkeypatch.setattr(module, '_SENT_PICTURES', 4)
    with connected(server) as backend:
        for level in range(0, 60, 10):
            ask(backend, question(level, level + 1))
        ask(backend, question(0, 51))
        sent = [part.get('image_url') for part in server.bodies[-1]['messages'][0]['content'][:2]]
        assert [item is not None for item in sent] == [True, False]


def test_an_address_without_its_end_is_named(server):
    config = ServerConfig(url=server.url.removesuffix('/v1'))
    with contextlib.closing(OpenAIBackend(config, 5.0, 64)) as backend:
        wait_for(lambda: backend.status().state is BackendState.FAILED)
        assert 'most addresses end in /v1' in backend.status().message
