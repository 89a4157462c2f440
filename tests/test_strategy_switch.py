"""Strategy and task changed while the monitor runs."""

from __future__ import annotations

import pytest
from judging import TASK, ScriptedBackend, answer_text, config, live, ns, play
from synchronous import generated, text_of

from progress_monitor.monitor import ProgressMonitor
from progress_monitor.strategies import STRATEGIES
from progress_monitor.types import DecodeStats, Score, Scored, State, Task

THOUGHT = '1. Reach the handle [completed]\n2. Pull the drawer open [pending]'


class Versatile(ScriptedBackend):
    """Answers in the form that is asked for."""

    model = 'procvlm, r2vlm and qwen3-vl'

    def answer(self, request):
        seconds = max(item.stamp_ns for item in request.frames) * 1e-9
        done = min(seconds / 20.0, 1.0)
        if isinstance(request.want, Score):
            return Scored((-4.0 + 4.0 * done, -2.0), DecodeStats(1.0))
        if request.session == 'recurrent':
            return generated(f'<think>{THOUGHT}</think><answer>{100 * done:.0f}%</answer>')
        if request.session == 'progresslm':
            return generated(f'<ref>1</ref><score>{100 * done:.0f}%</score>')
        return self.script(seconds)


def running(until=6.0, script=lambda t: answer_text(t / 20.0), **values):
    backend = Versatile(script)
    monitor = ProgressMonitor(config(**values), backend)
    monitor.set_task(TASK, 0)
    updates = play(monitor, live(until), until)
    return monitor, backend, updates


def words(tmp_path):
    folder = tmp_path / 'words'
    folder.mkdir()
    (folder / 'demonstration.yaml').write_text(
        'kind: text\ngoal: open it\nsteps:\n- {text: Reach it, progress: 50}\n'
        '- {text: Pull it, progress: 100}\n'
    )
    return str(folder)


@pytest.mark.parametrize('strategy', [name for name in STRATEGIES if name != 'procvlm'])
def test_another_strategy_asks_at_the_next_sample_and_the_plan_stays(strategy, tmp_path):
    monitor, backend, updates = running()
    plan, asked = updates[-1].plan, len(backend.requests)
    assert plan
    hashes = {updates[-1].prompt_hash}
    changed = config(strategy=strategy, progresslm__demonstration=words(tmp_path))
    monitor.apply(changed, ns(6.0))
    later = play(monitor, live(12.0, start=6.1), 12.0, start=6.1)
    sessions = [request.session for request in backend.requests[asked:]]
    assert 'procvlm' not in sessions or strategy == 'combined'
    assert {'combined': 'topreward'}.get(strategy, strategy) in sessions
    first = next(update for update in later if update.estimate is not None)
    # The frames that were seen before may be shown to the next strategy.
    assert first.now_ns <= ns(6.0 + 1.2)
    assert first.estimate.progress < 1.0
    assert later[-1].prompt_hash not in hashes
    assert [step.text for step in later[-1].plan][: len(plan)] == [step.text for step in plan]


def test_what_one_strategy_called_is_withdrawn_with_it(tmp_path):
    monitor, _, updates = running(12.0, lambda t: answer_text(min(t, 4.0) / 20.0))
    assert updates[-1].state is State.STALLED
    monitor.apply(config(strategy='topreward'), ns(12.0))
    (after,) = play(monitor, live(12.1, start=12.1), 12.1, start=12.1)
    (withdrawn,) = after.stalls
    assert not withdrawn.stalled
    assert after.state is not State.STALLED


def test_a_refusal_of_one_strategy_is_none_of_the_next():
    monitor, _, updates = running(script=lambda t: '<progress>n/a</progress>')
    assert updates[-1].state is State.UNSURE
    monitor.apply(config(strategy='recurrent'), ns(6.0))
    later = play(monitor, live(12.0, start=6.1), 12.0, start=6.1)
    assert later[-1].state not in (State.UNSURE, State.STALLED)


def test_another_task_asks_for_itself_at_the_next_tick_and_forgets_the_thought():
    monitor, backend, updates = running(strategy='recurrent')
    assert updates[-1].thought == THOUGHT
    asked = len(backend.requests)
    monitor.set_task(Task('u', 'close the window'), ns(6.0))
    play(monitor, live(12.0, start=6.1), 12.0, start=6.1)
    first = text_of(backend.requests[asked])
    assert 'close the window' in first
    assert THOUGHT not in first
    assert min(item.stamp_ns for item in backend.requests[asked].frames) > ns(6.0)


def test_a_checkpoint_that_a_strategy_was_not_made_for_is_named_in_the_status():
    monitor, _, updates = running()
    assert monitor.unsuited == ''
    assert updates[-1].message == 'The task makes progress.'
    Versatile.model = 'some-other-model'
    try:
        monitor, _, updates = running()
    finally:
        Versatile.model = 'procvlm, r2vlm and qwen3-vl'
    assert 'some-other-model is not known to be trained for the strategy procvlm' in (
        updates[-1].message
    )
    assert updates[-1].state is State.PROGRESSING


def test_a_video_is_asked_of_no_model_that_is_shown_none():
    monitor, backend, updates = running(strategy='topreward', topreward__video=True)
    assert not backend.requests
    assert updates[-1].state is State.ERROR
    assert 'topreward.video' in updates[-1].message
    monitor.apply(config(strategy='topreward'), ns(6.0))
    later = play(monitor, live(12.0, start=6.1), 12.0, start=6.1)
    assert backend.requests
    assert later[-1].state is State.PROGRESSING


def test_a_model_that_names_itself_late_gets_its_own_prompt(tmp_path):
    backend = Versatile(answer_text)
    backend.model = ''
    folder = words(tmp_path)
    made = config(strategy='progresslm', progresslm__demonstration=folder)
    monitor = ProgressMonitor(made, backend)
    monitor.set_task(TASK, 0)
    before = monitor.tick(0).prompt_hash
    backend.model = 'ProgressLM-3B-RL'
    assert monitor.tick(1).prompt_hash != before
