"""The page over HTTP, and in a browser where one is found."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from demonstration_videos import FRAMES, TASK, write_demonstration

from progress_monitor.adapt.annotation import read
from progress_monitor.adapt.recording import Recording
from progress_monitor.adapt.session import Session
from progress_monitor.adapt.web import AnnotationServer

ENTRY = {
    'task': TASK,
    'stages': [{'text': '<img src=x onerror=alert(1)>', 'start_s': 1.0, 'end_s': 5.8}],
    'done': True,
    'reason': '',
}
BROWSERS = ('chromium-headless-shell', 'chromium', 'chromium-browser', 'google-chrome')


@pytest.fixture(scope='module')
def recording(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recording]:
    video = write_demonstration(tmp_path_factory.mktemp('videos') / 'block.mp4')
    with Recording([video]) as opened:
        yield opened


def serving(recording: Recording, out: Path, host: str = '127.0.0.1') -> Iterator[AnnotationServer]:
    with AnnotationServer(Session(recording, TASK, out), host, 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def server(recording: Recording, tmp_path: Path) -> Iterator[AnnotationServer]:
    yield from serving(recording, tmp_path / 'demo.json')


@pytest.fixture
def open_server(recording: Recording, tmp_path: Path) -> Iterator[AnnotationServer]:
    """One that others can reach."""
    yield from serving(recording, tmp_path / 'demo.json', '0.0.0.0')


def ask(
    server: AnnotationServer,
    path: str,
    body: Any = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, bytes, http.client.HTTPMessage]:
    link = http.client.HTTPConnection('127.0.0.1', server.server_address[1], timeout=20)
    sent = {**({'Content-Type': 'application/json'} if body is not None else {}), **(headers or {})}
    data = body if body is None or isinstance(body, bytes) else json.dumps(body)
    try:
        link.request('GET' if body is None else 'POST', path, data, sent)
        answer = link.getresponse()
        return answer.status, answer.read(), answer.headers
    finally:
        link.close()


def test_what_is_sent_is_checked_and_saved(server: AnnotationServer) -> None:
    told = json.loads(ask(server, '/recording.json')[1])
    assert (told['task'], told['frames'], told['fps']) == (TASK, FRAMES, 10.0)
    status, body, _ = ask(server, '/annotation', {**ENTRY, 'stages': []})
    assert status == 422 and 'stages: must be 1' in json.loads(body)['error']
    late = [{'text': 'a', 'start_s': 1.0, 'end_s': 60.0}]
    assert ask(server, '/annotation', {**ENTRY, 'stages': late})[0] == 422
    # Which videos it is about is not for the page to say.
    assert ask(server, '/annotation', {**ENTRY, 'videos': ['/etc/passwd']})[0] == 200
    (item,) = read(server.session.out)
    assert item.videos == server.session.recording.videos
    told = json.loads(ask(server, '/recording.json')[1])
    assert told['stages'][0]['text'] == ENTRY['stages'][0]['text']  # type: ignore[index]


def test_frames_are_pictures_and_nothing_else_can_be_had(server: AnnotationServer) -> None:
    status, body, headers = ask(server, '/frames/0/5.jpg')
    assert status == 200 and body[:2] == b'\xff\xd8' and headers['Content-Type'] == 'image/jpeg'
    for path in (
        '/frames/0/9999.jpg',
        '/frames/1/0.jpg',
        '/frames/0/-1.jpg',
        '/frames/0/../../annotation.py',
        '/../annotation.py',
        '/..%2fannotation.py',
        '/%2e%2e/%2e%2e/etc/passwd',
        '//etc/passwd',
        '/page/index.html',
        '/annotate.js/../../web.py',
        '/frames/0/%D9%A5.jpg',
    ):
        assert ask(server, path)[0] in (400, 404), path


@pytest.mark.parametrize(
    'headers',
    [
        {'Host': 'attacker.example'},
        {'Host': 'attacker.example:5110'},
        {'Host': '127.0.0.1.attacker.example'},
        {'Host': ''},
        {'Host': '[::1'},
        {'Origin': 'http://attacker.example'},
        {'Origin': 'null'},
        {'Sec-Fetch-Site': 'cross-site'},
        {'Sec-Fetch-Site': 'same-site'},
    ],
)
def test_other_sites_are_refused(server: AnnotationServer, headers: dict[str, str]) -> None:
    assert ask(server, '/recording.json', None, headers)[0] == 403
    assert ask(server, '/annotation', ENTRY, headers)[0] == 403
    assert not server.session.out.exists()


@pytest.mark.parametrize('kind', ['text/plain', 'application/x-www-form-urlencoded', ''])
def test_what_a_form_can_send_is_refused(server: AnnotationServer, kind: str) -> None:
    assert ask(server, '/annotation', ENTRY, {'Content-Type': kind})[0] == 415
    assert not server.session.out.exists()


def test_bodies_are_bounded(server: AnnotationServer) -> None:
    length = {'Content-Length': '999999999'}
    assert ask(server, '/annotation', b'{}', length)[0] == 413
    for other in ({'Content-Length': '-1'}, {'Content-Length': '٣'.encode().decode('latin-1')}):
        assert ask(server, '/annotation', b'{}', other)[0] == 411
    for body in (b'[' * 500_000, b'\xff', b'7', b'{"task":'):
        assert ask(server, '/annotation', body)[0] == 400
    for wanted in (65, -1, 'many', 2.5):
        assert ask(server, '/proposal', {'stages': wanted})[0] == 422
    assert ask(server, '/proposal', {'stages': 1})[0] == 200


def test_the_page_runs_no_script_but_its_own(server: AnnotationServer) -> None:
    status, body, headers = ask(server, '/')
    assert status == 200 and b'http://' not in body and b'https://' not in body
    policy = headers['Content-Security-Policy']
    assert "script-src 'self';" in policy and "frame-ancestors 'none'" in policy
    assert headers['X-Content-Type-Options'] == 'nosniff'


def test_others_need_the_token(open_server: AnnotationServer) -> None:
    assert len(open_server.token) >= 32 and open_server.token in open_server.url
    for path in ('/', '/recording.json', '/frames/0/0.jpg', '/?token=', '/?token=wrong'):
        assert ask(open_server, path)[0] == 403, path
    assert ask(open_server, '/annotation', ENTRY)[0] == 403
    assert ask(open_server, f'/annotation?token={open_server.token}', ENTRY)[0] == 403
    status, _, headers = ask(open_server, f'/?token={open_server.token}')
    assert (status, headers['Location']) == (303, '/')
    cookie = headers['Set-Cookie']
    assert 'HttpOnly' in cookie and 'SameSite=Strict' in cookie
    signed = {'Cookie': f'a=b; {cookie.partition(";")[0]}'}
    assert ask(open_server, '/recording.json', None, signed)[0] == 200
    other = {**signed, 'Origin': 'http://attacker.example'}
    assert ask(open_server, '/annotation', ENTRY, other)[0] == 403
    assert ask(open_server, '/annotation', ENTRY, signed)[0] == 200


def test_an_address_that_is_taken_is_named(recording: Recording, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f'127.0.0.1 port {port}: '):
            AnnotationServer(Session(recording, TASK, tmp_path / 'a.json'), '127.0.0.1', port)


@pytest.fixture(scope='module')
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip('playwright.sync_api', reason='playwright is not installed')
    found = next((path for path in map(shutil.which, BROWSERS) if path), None)
    if found is None:
        pytest.skip(f'no browser is installed: {", ".join(BROWSERS)}')
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=found, args=['--no-sandbox'])
        yield started
        started.close()


def test_a_person_annotates_in_a_browser(browser: Any, server: AnnotationServer) -> None:
    from playwright.sync_api import expect

    page = browser.new_page(viewport={'width': 1200, 'height': 800})
    wrong: list[str] = []
    page.on('pageerror', lambda error: wrong.append(str(error)))
    page.on('console', lambda line: wrong.append(line.text) if line.type == 'error' else None)
    page.on('dialog', lambda dialog: wrong.append(dialog.message))
    page.goto(server.url)
    clock, status, fields = (
        page.locator('#clock'),
        page.locator('#status'),
        page.locator('li input'),
    )
    expect(page.locator('#task')).to_have_value(TASK)

    # Frames, keys, playing to the end.
    for key in ('ArrowRight', 'ArrowRight', 'ArrowLeft', 'Shift+ArrowRight'):
        page.keyboard.press(key)
    expect(clock).to_have_text('1.10 of 6.80 s, frame 11')
    pixel = (
        '() => document.querySelector("canvas").getContext("2d").getImageData(3, 3, 1, 1).data[0]'
    )
    page.select_option('#speed', '4')
    page.keyboard.press('Escape')
    page.click('#play')
    expect(page.locator('#play')).to_have_text('Play', timeout=15_000)
    expect(clock).to_contain_text(f'frame {FRAMES - 1}')
    assert abs(page.evaluate(pixel) - 3 * (FRAMES - 1)) < 8

    # Cut, describe, drag; hostile text is text.
    page.keyboard.press('Home')
    for _ in range(34):
        page.keyboard.press('ArrowRight')
    page.keyboard.press('s')
    expect(fields).to_have_count(2)
    page.click('#save')
    expect(status).to_have_text('describe stage 1')
    hostile = '<img src=x onerror=alert(1)>'
    fields.nth(0).fill(hostile)
    fields.nth(0).press('Enter')
    page.keyboard.type('push it down')
    page.keyboard.press('Escape')
    track = page.locator('#track').bounding_box()
    handle = page.get_by_label('End of stage 2').bounding_box()
    middle = handle['y'] + handle['height'] / 2
    page.mouse.move(handle['x'] + handle['width'] / 2 - 1, middle)
    page.mouse.down()
    page.mouse.move(track['x'] + track['width'] * 50 / FRAMES, middle, steps=4)
    page.mouse.up()
    expect(page.locator('.times').nth(1)).to_have_text('3.40 to 5.00 s, frames 34 to 49')
    page.keyboard.press('ArrowRight')  # the boundary has the focus
    expect(page.locator('.times').nth(1)).to_contain_text('frames 34 to 50')
    page.get_by_label('Not done').check()
    page.get_by_label('Reason').fill('it stops short')
    page.keyboard.press('Control+s')
    expect(status).to_contain_text('saved to')
    (item,) = read(server.session.out)
    assert [(stage.text, stage.start_s, stage.end_s) for stage in item.stages] == [
        (hostile, 0.0, 3.4),
        ('push it down', 3.4, 5.1),
    ]
    assert (item.done, item.reason) == (False, 'it stops short')

    # Proposals, undo, merging; what was saved is there again.
    page.fill('#wanted', '2')
    page.click('#propose')
    expect(status).to_contain_text('2 proposed')
    expect(fields.nth(0)).to_have_value('')
    page.click('#undo')
    expect(fields.nth(0)).to_have_value(hostile)
    page.get_by_role('button', name='Merge').nth(1).click()
    expect(fields).to_have_count(1)
    page.close()
    page = browser.new_page()
    page.goto(server.url)
    expect(page.locator('li input').nth(1)).to_have_value('push it down')
    expect(page.get_by_label('Not done')).to_be_checked()
    page.close()
    assert wrong == []
