"""An adapter trained on a tiny checkpoint: written as published, resumed, loaded, judged."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from progress_monitor.__main__ import main
from progress_monitor.adapt.adapting import Adapted, Options, adapt
from progress_monitor.adapt.annotation import Annotation, Stage, write
from progress_monitor.adapt.batches import Collator, Eyes
from progress_monitor.adapt.demonstration import load
from progress_monitor.adapt.folder import copy_unprobed
from progress_monitor.adapt.playing import Curve
from progress_monitor.adapt.recipe import PROCVLM, Recipe, recipe_for
from progress_monitor.adapt.replay import Replay, ReplayError
from progress_monitor.adapt.report import UNPROBED, decide, figures, thresholds
from progress_monitor.adapt.samples import Pool, Sample
from progress_monitor.adapt.training import TOWER, TOWER_RATE, Trainer, TrainingError
from progress_monitor.adapt.wording import PUBLISHED, SMALL_CELL
from progress_monitor.vlm.architectures import architecture_of
from progress_monitor.vlm.errors import VLMError
from progress_monitor.vlm.linear_probe import LinearProbe
from progress_monitor.vlm.loading import VLM
from progress_monitor.vlm.tiny import TINY_TEXT, TINY_VISION, make_checkpoint

RECIPE = replace(
    PROCVLM, rank=4, alpha=8, dropout=0.1, rate=1e-2, steps=4, batch=2, at_once=1, read_every=2,
    looks=4, averaged=3, means=True, probe=True, checkpointing=False,
)  # fmt: skip


@pytest.fixture(scope='module')
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp('base')
    return str(make_checkpoint(folder, TINY_TEXT, TINY_VISION, spread=0.1))


@pytest.fixture(scope='module')
def annotation(tmp_path_factory: pytest.TempPathFactory) -> Annotation:
    path = tmp_path_factory.mktemp('film') / 'run.mp4'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'mp4v'), 10.0, (64, 64))
    for index in range(50):
        picture = np.full((64, 64, 3), 90, np.uint8)
        picture[20:40, index : index + 12] = (30, 200, 250)
        writer.write(picture)
    writer.release()
    stages = (Stage('Reach the knob', 0.0, 2.0), Stage('Turn the knob', 2.0, 4.0))
    return Annotation('turn the knob', (path,), stages, True)


def run(base: str, annotation: Annotation, out: Path, **changed: Any) -> Adapted:
    options = Options(base, out, device='cpu', recipe=changed.pop('recipe', RECIPE))
    return adapt([annotation], replace(options, **changed))


def adapter(folder: Path) -> dict[str, Any]:
    return load_file(folder / 'adapter_model.safetensors')


@pytest.fixture(scope='module')
def trained(base: str, annotation: Annotation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp('adapter')
    run(base, annotation, out)
    return out


def test_the_adapter_has_the_published_layout_and_says_what_it_is_for(
    trained: Path, base: str
) -> None:
    config = json.loads((trained / 'adapter_config.json').read_text())
    assert config['peft_type'] == 'LORA'
    assert config['target_modules'] == ['k_proj', 'o_proj', 'q_proj', 'v_proj']
    revision = VLM.from_pretrained(base, device='cpu').revision
    assert json.loads((trained / 'adaptation.json').read_text()) == {
        'format': 1,
        'tasks': ['turn the knob'],
        'base': base,
        'revision': revision,
        'means': True,
    }
    assert revision and config['revision'] == revision
    assert not [path for path in trained.iterdir() if path.suffix in ('.bin', '.pt', '.pkl')]
    assert (trained / 'scene_statistics.safetensors').is_file()
    assert any(float(value.abs().max()) > 0 for name, value in adapter(trained).items()
               if '.lora_B.' in name)  # fmt: skip


def test_each_demonstration_has_its_steps(
    base: str, annotation: Annotation, tmp_path: Path
) -> None:
    options = Options(base, tmp_path, device='cpu', recipe=replace(RECIPE, steps=1, looks=2))
    assert adapt([annotation, annotation], options).course.step == 2


def test_its_probe_follows_the_demonstration(
    trained: Path, base: str, annotation: Annotation, tmp_path: Path
) -> None:
    vlm = VLM.from_pretrained(base, device='cpu')
    probe = LinearProbe.read(trained / 'linear_probe.safetensors', len(vlm.tokenizer))
    shown = load(annotation, 0.2, 128 * 128, vlm.images.multiple)
    encode = architecture_of(vlm).vision.encode
    with torch.no_grad():
        read = [probe.percent(0, 'A', [encode(sample[0])]) for sample in shown.images]
    assert np.corrcoef(read, shown.progress)[0, 1] > 0.9
    assert probe.done_token == vlm.prompts.continuation(RECIPE.wording.finished)[0]
    (tmp_path / 'linear_probe.safetensors').touch()
    run(base, annotation, tmp_path, recipe=replace(RECIPE, steps=1, probe=False))
    assert not (tmp_path / 'linear_probe.safetensors').exists()
    copy_unprobed(trained, tmp_path / 'copy')
    alone = VLM.from_pretrained(base, device='cpu', adapters=(str(tmp_path / 'copy'),))
    assert alone.adapters.use(annotation.task).probe is None
    full = VLM.from_pretrained(base, device='cpu', adapters=(str(trained),))
    assert full.adapters.use(annotation.task).probe is not None


@pytest.mark.parametrize('quantization', ['none', 'nf4'])
def test_the_adapter_loads_over_its_base(trained: Path, base: str, quantization: str) -> None:
    vlm = VLM.from_pretrained(base, quantization, 'cpu', adapters=(str(trained),))
    assert any('made for' in note for note in vlm.notes)


def test_pictures_are_seen_together_as_the_monitor_sees_each_and_blurred_on_demand(
    base: str,
) -> None:
    rng = np.random.default_rng(0)
    pool = Pool()
    for _ in range(6):
        pool.add(rng.integers(0, 255, (64, 64, 3)).astype(np.uint8))
    vlm = VLM.from_pretrained(base, device='cpu')
    eyes = Eyes(vlm, pool, False)
    seen = eyes.see([2, 0, 2])
    for layer, alone in zip(seen, _layers(eyes, (2, 0, 2)), strict=True):
        assert np.allclose(layer.float(), alone, atol=0.02 * float(abs(alone).max()))
    eyes.blur(0.5, range(6))
    assert all(np.array_equal(a, b) for a, b in zip(seen, eyes.see([2, 0, 2]), strict=True))
    blurred = eyes.see([2, 0, 2], blurred=True)
    count = len(blurred[0]) // 3
    first, third = blurred[0][:count], blurred[0][2 * count :]
    assert np.array_equal(first, third), 'one picture is one picture'
    assert not np.allclose(first.float(), seen[0][:count].float(), atol=1e-3)


def _layers(eyes: Eyes, pictures: Sequence[int]) -> list[np.ndarray]:
    found = [eyes.features(index) for index in pictures]
    embedding = [item.embedding.detach().numpy() for item in found]
    deep = [[layer.detach().numpy() for layer in item.deepstack] for item in found]
    return [np.concatenate(embedding), *(np.concatenate(part) for part in zip(*deep, strict=True))]


def test_the_first_word_and_the_digits_of_the_progress_weigh_more(base: str) -> None:
    collate = Collator(VLM.from_pretrained(base, device='cpu'), 3.0, 3.0)
    pool = Pool()
    frame = pool.frame(pool.add(np.zeros((64, 64, 3), np.uint8)))
    answers = [
        PUBLISHED.answer(0.4213, ('Turn', 'Push 2 times')),
        SMALL_CELL.answer(0.07, ('Turn',)),
        SMALL_CELL.answer(1.0, ()),
        SMALL_CELL.refusal,
    ]
    batch = collate([Sample((frame, 'How far?'), answer) for answer in answers])
    shared = batch.shares.sum(2) > 0
    assert shared.sum(1).tolist() == [2, 2, 0, 0]
    assert (batch.weights == 3.0).sum(1).tolist() == [5, 3, 4, 1]
    assert batch.shares[0][shared[0]].argmax(1).tolist() == [4, 2]
    assert batch.shares[1][shared[1]].argmax(1).tolist() == [0, 7]


def test_where_an_answer_parts_from_what_other_pictures_would_have_had_weighs_more(
    base: str,
) -> None:
    vlm = VLM.from_pretrained(base, device='cpu')
    collate = Collator(vlm, 3.0, 3.0)
    pool = Pool()
    frame = pool.frame(pool.add(np.zeros((64, 64, 3), np.uint8)))
    steps = ('Move above the cup', 'Move below the cup', 'Lift the cup')
    rivals = SMALL_CELL.rivals(steps)
    answers = [SMALL_CELL.answer(0.4, steps[1:]), SMALL_CELL.refusal]
    batch = collate([Sample((frame, 'How far?'), said, 1, rivals) for said in answers])

    def begun(row: int) -> list[str]:
        """How the answer of a row begins before each token that weighs more."""
        learnt = batch.targets[row] >= 0
        said, heavy = batch.targets[row][learnt].tolist(), batch.weights[row][learnt] == 3.0
        places = np.flatnonzero(heavy.numpy()).tolist()
        return [vlm.tokenizer.decode(said[:place]).rstrip() for place in places]

    working = [text.rpartition('\n')[2] for text in begun(0)]
    assert working[1:4] == ['The', '1.', '1. Move'], 'refused, or lifting, or above the cup'
    assert begun(1) == ['', 'The']


def test_the_layers_that_are_kept_are_a_mean_over_the_last_steps(
    base: str, annotation: Annotation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed: list[dict[str, Any]] = []
    step = Trainer._step

    def noted(self: Trainer, *arguments: Any) -> float:
        loss = step(self, *arguments)
        passed.append({name: value.clone() for name, value in self.tensors().items()})
        return loss

    monkeypatch.setattr(Trainer, '_step', noted)
    recipe = replace(RECIPE, averaged=9, steps=2, read_every=2)
    run(base, annotation, tmp_path, recipe=recipe)
    for name, value in adapter(tmp_path).items():
        assert not passed[0][name].equal(passed[1][name])
        assert value.allclose((passed[0][name] + passed[1][name]) / 2, atol=1e-6)


def test_a_training_that_was_killed_ends_as_if_it_had_not_been(
    base: str, annotation: Annotation, trained: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    step = Trainer._step

    def killed(self: Trainer, *arguments: Any) -> float:
        if self.course.step == 3:
            raise KeyboardInterrupt
        return step(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, '_step', killed)
        with pytest.raises(KeyboardInterrupt):
            run(base, annotation, tmp_path)
    assert not (tmp_path / 'adapter_model.safetensors').exists()
    with pytest.raises(TrainingError, match='other settings'):
        run(base, annotation, tmp_path, recipe=replace(RECIPE, steps=5))
    steps = []
    monkeypatch.setattr(
        Trainer, '_step', lambda self, *a: steps.append(self.course.step) or step(self, *a)
    )
    run(base, annotation, tmp_path)
    assert steps == [2, 3]
    for name, value in adapter(trained).items():
        assert np.allclose(adapter(tmp_path)[name], value, atol=1e-6), name


def test_a_base_in_four_bits_is_adapted_and_the_vision_tower_if_asked(
    base: str, annotation: Annotation, tmp_path: Path
) -> None:
    short: Recipe = replace(RECIPE, steps=1, read_every=1)
    run(base, annotation, tmp_path, recipe=short, quantization='nf4', vision=True)
    learnt = {
        name: float(value.abs().max())
        for name, value in adapter(tmp_path).items()
        if '.lora_B.' in name
    }
    tower = [moved for name, moved in learnt.items() if TOWER in name]
    text = [moved for name, moved in learnt.items() if TOWER not in name]
    assert tower
    assert min(tower) > 0.0
    # A first step of Adam is as long as the rate.
    assert max(tower) == pytest.approx(TOWER_RATE * max(text), rel=0.05)


def test_old_data_in_the_published_form_is_read_and_what_is_none_is_named(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / '000001.jpg'), np.full((64, 64, 3), 9, np.uint8))
    row: dict[str, Any] = {
        'image': ['000001.jpg', '000001.jpg'],
        'conversations': [
            {'from': 'human', 'value': '<image>\n<image>\nHow far is the task "open the door"?'},
            {'from': 'gpt', 'value': '<progress>12.00%</progress>'},
        ],
    }
    (tmp_path / 'qa_pairs.jsonl').write_text(json.dumps(row) + '\n')
    pool = Pool()
    replay = Replay.read(tmp_path, pool, 64 * 64, 32)
    assert len(pool) == 1
    assert replay.tasks == ('open the door',)
    assert replay.samples[0].parts[-1] == 'How far is the task "open the door"?'
    assert replay.samples[0].answer == '<progress>12.00%</progress>'
    said = json.dumps({**row, 'note': '\u2028'}, ensure_ascii=False)
    (tmp_path / 'qa_pairs.jsonl').write_text(f'\ufeff{said}\r\n', encoding='utf-8')
    assert Replay.read(tmp_path, Pool(), 64 * 64, 32).tasks == ('open the door',)
    for bad, named in (
        ({**row, 'image': ['000001.jpg']}, 'line 1'),
        ({**row, 'image': ['000001.jpg'] * 2, 'conversations': []}, 'line 1'),
        ([], 'line 1'),
    ):
        (tmp_path / 'qa_pairs.jsonl').write_text(json.dumps(bad) + '\n')
        with pytest.raises(ValueError, match=named):
            Replay.read(tmp_path, Pool(), 64 * 64, 32)
    (tmp_path / 'qa_pairs.jsonl').write_text('[' * 100_000)
    with pytest.raises(ValueError, match='line 1'):
        Replay.read(tmp_path, Pool(), 64 * 64, 32)
    row['image'], row['conversations'][0]['value'] = [], 'How far?'
    (tmp_path / 'qa_pairs.jsonl').write_text(json.dumps(row) + '\n')
    with pytest.raises(ReplayError, match='row 1 shows no picture'):
        Replay.read(tmp_path, Pool(), 64 * 64, 32)


def curve(name: str, progress: np.ndarray, successes: tuple[float, ...] = ()) -> Curve:
    seconds = np.arange(len(progress)) * 0.5
    truth = np.linspace(0.0, 1.0, len(progress))
    finished = truth >= 0.9
    return Curve(name, seconds, progress, truth, finished, successes, (), 0.01)


def test_the_verdict_trusts_what_follows_the_work_and_nothing_else() -> None:
    line = np.linspace(0.0, 1.0, 20)
    good = curve('demonstration', line, (9.0,))
    assert figures(good)['voc'] == pytest.approx(1.0)
    assert decide({'demonstration': good}, True).reasons == ()
    cases = {
        'follow': curve('demonstration', np.full(20, 0.5), (9.0,)),
        'off by': curve('demonstration', line * 0.5, (9.0,)),
        'not called': curve('demonstration', line),
        'too early': curve('demonstration', line, (2.0, 9.0)),
        'refusals': curve('demonstration', np.where(line < 0.5, np.nan, line), (9.0,)),
    }
    for word, case in cases.items():
        assert word in decide({'demonstration': case}, True).sentence, word
    assert 'standstill' in decide({'stopped at 50 %': good}, True).sentence
    assert 'another task' in decide({'other task': good}, True).sentence
    assert decide({UNPROBED: good}, True).reasons == ()
    slow = replace(good, progress=np.full(len(good.progress), 0.5))
    assert 'language model' in decide({UNPROBED: slow}, True).sentence


def test_an_end_is_doubtful_when_a_success_was_called_of_unfinished_work() -> None:
    line = np.linspace(0.0, 1.0, 20)
    for good in ((), (9.0,)):
        assert not decide({'demonstration': curve('demonstration', line, good)}, True).end_doubtful
    early = curve('held out 1', line, (6.0, 9.0))
    for name in ('held out 1', UNPROBED):
        assert decide({name: early}, True).end_doubtful
    stopped = curve('stopped at 50 %', line * 0.5, (9.0,))
    assert decide({'stopped at 50 %': replace(stopped, truth=line * 0.5)}, True).end_doubtful


def test_thresholds_come_from_the_calibration() -> None:
    line = np.linspace(0.0, 1.0, 30)
    stopped = curve('stopped at 50 %', np.minimum(line, 0.5))
    values = thresholds({'demonstration': curve('demonstration', line), 'stopped at 50 %': stopped})
    assert 0.5 < values['success.progress'] <= 1.0
    assert thresholds({'demonstration': curve('demonstration', line)}) == {}


def test_the_command_adapts_and_reports(
    base: str,
    annotation: Annotation,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A checkpoint of random weights answers at length: fewer and shorter curves.
    monkeypatch.setattr('progress_monitor.adapt.report.STOPS', (0.5,))
    monkeypatch.setattr('progress_monitor.adapt.recipe.PROCVLM', replace(PROCVLM, probe=True))
    monkeypatch.setattr('progress_monitor.adapt.report.REST_S', 0.5)
    monkeypatch.setattr('progress_monitor.adapt.report.STANDSTILL_ALLOWANCES', 0.1)
    write([annotation], tmp_path / 'demonstrations.json')
    out = tmp_path / 'adapter'
    arguments = [str(tmp_path / 'demonstrations.json'), '--model', base, '--out', str(out)]
    # One step teaches a checkpoint of random weights nothing, and the verdict says so.
    quick = 'progress_monitor:\n  ros__parameters:\n    window.sample_period: 0.25\n'
    (tmp_path / 'quick.yaml').write_text(quick)
    arguments += ['--params', str(tmp_path / 'quick.yaml')]
    assert main(['adapt', *arguments, '--steps', '1', '--device', 'cpu', '--threads', '1']) == 1
    report = json.loads((out / 'report.json').read_text())
    # The pace of the monitor that is to watch.
    assert set(np.round(np.diff(report['curves']['demonstration']['seconds']), 3)) == {0.25}
    assert report['trusted'] is False
    assert report['verdict'].startswith('Do not trust the monitor here')
    assert {'demonstration', 'held out 1', UNPROBED, 'other task'} <= set(report['curves'])
    assert (out / 'report.png').stat().st_size > 1000
    said = capsys.readouterr()
    assert 'Do not trust' in said.out
    assert 'inf' not in said.err
    # It takes minutes with a large model: what is being done is told.
    assert {f'playing: {name}' for name in report['curves']} <= set(said.err.splitlines())


def test_what_cannot_be_used_is_told_in_a_sentence(
    base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / 'none.json').write_text('{"demonstrations": []}')
    given = ['adapt', str(tmp_path / 'none.json'), '--model', base, '--out', str(tmp_path / 'a')]
    assert main(given) == 2
    assert 'holds no demonstration' in capsys.readouterr().err
    assert main([*given, '--params', str(tmp_path / 'no.yaml')]) == 2


def test_the_small_checkpoint_has_settings_of_its_own(base: str) -> None:
    assert recipe_for('models/small_cell').rank != PROCVLM.rank
    assert recipe_for('ce-amtic/ProcVLM-2B') == PROCVLM
    assert (PROCVLM.rank, PROCVLM.alpha, PROCVLM.rate) == (64, 128, 1e-5)


def test_a_base_that_is_missing_is_named(annotation: Annotation, tmp_path: Path) -> None:
    with pytest.raises(VLMError, match='missing'):
        run(str(tmp_path / 'missing'), annotation, tmp_path / 'out')
