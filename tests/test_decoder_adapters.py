"""One base and several adapters: each task's answer is that of its own adapter, and of no other."""

import copy
import itertools
from dataclasses import replace

import pytest
import torch
from adapters import (
    TEXT_LAYERS,
    WITH_VISION,
    adapted,
    head_layers,
    make_adapter,
    write_adaptation,
    write_head,
)
from safetensors.torch import load_file, save_file
from vlm_checkpoints import noise_frames, request, score, tiny_folder, tiny_qwen2_5, tiny_vlm

from progress_monitor.types import Finish
from progress_monitor.vlm.adapter import Adapter
from progress_monitor.vlm.adapter_switch import AdapterSwitch
from progress_monitor.vlm.architectures import architecture_of, plain
from progress_monitor.vlm.decoder import StreamingDecoder
from progress_monitor.vlm.errors import VLMError
from progress_monitor.vlm.loading import VLM
from progress_monitor_lab.bench.speed_reference import generate, pictures

MAKERS = {'qwen3_vl': tiny_vlm, 'qwen2_5_vl': tiny_qwen2_5}
TEXT = 'Is the drawer open?'
TASKS = ('Open the drawer.', 'Push the puck!', 'fold the towel')
LIMIT = 12


def with_adapters(vlm, *folders, merge=True):
    loaded = [Adapter.read(folder) for folder in folders]
    return replace(vlm, adapters=AdapterSwitch.load(vlm.model, loaded, merge))


@pytest.fixture(scope='module', params=MAKERS)
def three(request, tmp_path_factory):
    """A model in float64 with an adapter of the text, one of both towers, and none for the rest;
    and for every task the model as it must answer.
    """
    vlm = MAKERS[request.param].__wrapped__(4, 2)
    vlm = replace(vlm, model=vlm.model.double(), dtype=torch.float64)
    folder = tmp_path_factory.mktemp('adapters')
    drawer = make_adapter(folder / 'drawer', vlm, 1, TEXT_LAYERS, TASKS[:1])
    puck = make_adapter(folder / 'puck', vlm, 2, WITH_VISION, TASKS[1:2])
    bare = replace(vlm, model=copy.deepcopy(vlm.model))
    expected = dict(zip(TASKS, (adapted(vlm, drawer), adapted(vlm, puck), bare), strict=True))
    return with_adapters(vlm, drawer, puck), expected


_GENERATED = {}


def generated(vlm, asked):
    """What ``generate`` says, once for each model and question of this file."""
    key = id(vlm), tuple(frame.uid for frame in asked.frames)
    if key not in _GENERATED:
        _GENERATED[key] = vlm, generate(vlm, asked, LIMIT)
    return _GENERATED[key][1]


def ask(frames, task, session='', **want):
    return replace(request(frames, TEXT, session=session, **want), task=task)


def frames_for(vlm, count, start=0):
    side = vlm.images.multiple
    return tuple(noise_frames(count, (2 * side, side), start))


@pytest.mark.parametrize('way', ['tuned', 'plain'])
def test_tokens_are_those_of_generate_with_each_adapter_and_across_switches(three, way):
    vlm, expected = three
    architecture = architecture_of(vlm) if way == 'tuned' else plain(vlm)
    decoder = StreamingDecoder(vlm, max_new_tokens=LIMIT, architecture=architecture)
    frames = frames_for(vlm, 6)
    said = {}
    # The same pictures, prompt and session under every adapter, there and back again.
    for newest in range(4, 7):
        for task in (*TASKS, TASKS[0]):
            asked = ask(frames[:newest], task)
            answer = decoder.answer(asked)
            assert answer.token_ids == generated(expected[task], asked)
            said[newest, task] = answer.token_ids
    for newest in range(4, 7):
        assert len({said[newest, task] for task in TASKS}) == 3


def test_sessions_with_adapters_of_their_own_take_turns_and_keep_what_is_theirs(three):
    vlm, expected = three
    decoder = StreamingDecoder(vlm, max_new_tokens=LIMIT)
    frames = frames_for(vlm, 7)
    for newest in range(4, 8):
        for session, task in (('one', TASKS[0]), ('other', TASKS[1])):
            asked = ask(frames[:newest], task, session)
            answer = decoder.answer(asked)
            assert answer.token_ids == generated(expected[task], asked)
            if newest > 4:
                assert answer.stats.frames_encoded == 1
                assert answer.stats.reused_tokens > 0


def test_a_frame_is_encoded_again_only_where_the_adapter_sees_otherwise(three):
    vlm, _ = three
    decoder = StreamingDecoder(vlm, max_new_tokens=2)
    frames = frames_for(vlm, 3)
    encoded = [decoder.answer(ask(frames, task)).stats.frames_encoded for task in TASKS]
    assert encoded == [3, 3, 0]
    assert decoder.answer(ask(frames, TASKS[1])).stats.frames_encoded == 0
    decoder.answer(ask(frames_for(vlm, 2, 50), TASKS[1]))
    held = [set(cache.features) for cache in decoder._seen_by.values()]
    assert held == [{0, 1, 2}, {50, 51}]


def test_scores_and_the_bare_model_are_exact_after_many_switches(three):
    vlm, expected = three
    decoder = StreamingDecoder(vlm)
    weights = {name: value.clone() for name, value in expected[TASKS[2]].model.state_dict().items()}
    asked = score(frames_for(vlm, 2), TEXT, ' True', ' False')
    for task in (*TASKS, *TASKS, TASKS[0], TASKS[2]):
        scored = decoder.answer(replace(asked, task=task)).log_probabilities
        alone = StreamingDecoder(replace(expected[task], adapters=AdapterSwitch())).answer(asked)
        assert scored == pytest.approx(alone.log_probabilities, abs=1e-9)
    for name, value in vlm.model.state_dict().items():
        assert torch.equal(value, weights[name])


def test_weights_stay_where_they_lie_as_captured_graphs_expect(three):
    vlm, _ = three
    places = {name: value.data_ptr() for name, value in vlm.model.state_dict().items()}
    for task in TASKS:
        vlm.adapters.use(task)
        assert {name: value.data_ptr() for name, value in vlm.model.state_dict().items()} == places


def test_graphs_do_not_pass_from_one_adapter_to_another(three):
    from progress_monitor.vlm.sessions import MAX_SESSIONS, Sessions

    sessions = Sessions(2)
    graphs = object()
    for index in range(MAX_SESSIONS):
        session = sessions.get(f's{index}', 'drawer')
        session.graphs, session.graphs_tried = graphs, True
    sessions.forget()
    assert sessions.get('s', 'drawer').graphs is graphs
    other = sessions.get('s', 'puck')
    assert (other.graphs, other.graphs_tried) == (None, False)


def test_beside_quantised_weights_each_task_has_its_adapter(tmp_path):
    pytest.importorskip('bitsandbytes')
    plain_vlm = tiny_vlm(0)
    drawer = make_adapter(tmp_path / 'drawer', plain_vlm, 1, TEXT_LAYERS, TASKS[:1])
    puck = make_adapter(tmp_path / 'puck', plain_vlm, 2, WITH_VISION, TASKS[1:2])
    names = [str(drawer), str(puck)]
    path = str(tiny_folder(0))
    vlm = VLM.from_pretrained(path, 'nf4', 'cpu', adapters=names)
    bare = VLM.from_pretrained(path, 'nf4', 'cpu')
    expected = dict(zip(TASKS, (adapted(bare, drawer), adapted(bare, puck), bare), strict=True))
    decoder = StreamingDecoder(vlm, max_new_tokens=LIMIT)
    frames = frames_for(vlm, 5)
    said = set()
    for newest in (4, 5):
        for task in (*TASKS, TASKS[0]):
            asked = ask(frames[:newest], task)
            answer = decoder.answer(asked)
            assert answer.token_ids == generated(expected[task], asked)
            said.add(answer.token_ids)
    assert len(said) >= 5
    assert not any(item.requires_grad for item in vlm.model.parameters())


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_dora_and_other_scalings_are_those_of_peft(tmp_path, dtype):
    bare = VLM.from_pretrained(str(tiny_folder(0)), device='cpu', dtype=dtype)
    folders = [
        make_adapter(tmp_path / 'dora', bare, 1, tasks=TASKS[:1], use_dora=True),
        make_adapter(tmp_path / 'scaled', bare, 2, tasks=TASKS[1:2], use_rslora=True,
                     rank_pattern={'layers.1.self_attn.q_proj': 2}),
    ]  # fmt: skip
    vlm = VLM.from_pretrained(
        str(tiny_folder(0)), device='cpu', dtype=dtype, adapters=list(map(str, folders))
    )
    asked = score(frames_for(vlm, 2), TEXT, ' True', ' False')
    tolerance = 1e-4 if dtype == 'float32' else 0.3
    for folder, task in itertools.chain(zip(folders, TASKS[:2], strict=True)):
        found = StreamingDecoder(vlm).answer(replace(asked, task=task)).log_probabilities
        theirs = StreamingDecoder(adapted(bare, folder)).answer(asked).log_probabilities
        assert found == pytest.approx(theirs, abs=tolerance)


def test_an_adapter_without_tasks_serves_those_that_no_other_names(tmp_path):
    vlm = tiny_vlm.__wrapped__(0)
    rest = make_adapter(tmp_path / 'rest', vlm, 1)
    drawer = make_adapter(tmp_path / 'drawer', vlm, 2, tasks=TASKS[:1])
    both = with_adapters(vlm, rest, drawer).adapters
    assert [both.use(task).name for task in TASKS] == ['drawer', 'rest', 'rest']
    assert both.use('OPEN   the "drawer"').name == 'drawer'
    assert both.use('Open the drawer again').name == 'rest'
    assert both.kept_mb > 0.0


def test_what_serves_everything_is_merged_once_and_keeps_nothing(tmp_path):
    vlm = tiny_vlm.__wrapped__(0)
    only = with_adapters(vlm, make_adapter(tmp_path / 'only', vlm, 1))
    assert only.adapters.kept_mb == 0.0
    assert only.adapters.use('anything').name == 'only'


def test_an_answer_names_its_adapter(three):
    vlm, _ = three
    decoder = StreamingDecoder(vlm, max_new_tokens=2)
    frames = frames_for(vlm, 1)
    assert [decoder.answer(ask(frames, task)).adapter for task in TASKS] == ['drawer', 'puck', '']
    assert decoder.answer(replace(score(frames, TEXT, ' a'), task=TASKS[1])).adapter == 'puck'


# The value head


def said_by_head(vlm, tensors, asked, answer):
    """The published way: a forward over prompt and answer, pooled as published."""
    tokens = vlm.prompts.build(asked)
    ids = torch.cat([torch.from_numpy(tokens.ids), torch.tensor(answer.token_ids)])[None]
    marks = torch.zeros_like(ids, dtype=torch.int32)
    for start, end in tokens.spans:
        marks[0, start:end] = 1
    seen = {}
    hook = vlm.model.lm_head.register_forward_hook(lambda m, given, out: seen.update(h=given[0]))
    with torch.inference_mode():
        vlm.model(input_ids=ids, mm_token_type_ids=marks, **pictures(vlm, asked))
        hook.remove()
        hidden = seen['h'].float()
        pooler, head = head_layers(hidden.shape[-1])
        part = 'pooler.score.'
        pooler.load_state_dict({k.removeprefix(part): v for k, v in tensors.items() if part in k})
        part = 'value_head.'
        head.load_state_dict({k.removeprefix(part): v for k, v in tensors.items() if part in k})
        scores = pooler(hidden).squeeze(-1)
        weights = scores.softmax(1)
        pooled = (hidden * weights.unsqueeze(-1)).sum(1)
        return float(head(pooled).squeeze(-1).sigmoid() * 100)


class Tagged:
    """Greedy decoding made to say a tag, whatever the weights, to a model's end of the text."""

    note = ''

    def __init__(self, vlm, texts):
        self._scripts = [
            [*vlm.tokenizer(text, add_special_tokens=False)['input_ids'], min(vlm.end_tokens)]
            for text in texts
        ]
        self.turn = 0

    def read(self, logits, prompt, answer, proposal):
        script = self._scripts[self.turn]
        rows = []
        for index in range(len(logits)):
            rows.append((script[min(len(answer) + index, len(script) - 1)], [0.1] * 10))
        return rows


TEXTS = (
    'the estimated progress is <progress>42%</progress>.',
    'the estimated progress is <progress>42%</progress>.',
    'the estimated progress is <progress>57%</progress>.',
    'so it is done <progress>100%</progress>',
    'It does not fit. <progress>n/a</progress>',
)


def test_a_value_head_gives_the_number_that_the_published_tool_gives(tmp_path):
    vlm = tiny_vlm.__wrapped__(3)
    folder = make_adapter(tmp_path / 'drawer', vlm, 1, tasks=TASKS[:1])
    tensors = write_head(folder, 64)
    theirs = adapted(vlm, folder)
    ours = with_adapters(vlm, folder)
    script = Tagged(ours, TEXTS)
    decoder = StreamingDecoder(ours, max_new_tokens=64, choice=script)
    frames = frames_for(vlm, 7)
    values = []
    for turn, text in enumerate(TEXTS):
        script.turn = turn
        asked = ask(frames[: 3 + turn], TASKS[0], number_tag='progress')
        answer = decoder.answer(asked)
        assert answer.finish is Finish.END, 'the head reads what follows the tag as well'
        assert answer.number == ()
        assert answer.adapter == 'drawer (number from its value head)'
        if 'n/a' in text:
            assert answer.text == text
            continue
        value = said_by_head(theirs, tensors, asked, answer)
        assert f'<progress>{value:.2f}%</progress>' in answer.text
        assert answer.text.split('<')[0] == text.split('<')[0]
        values.append(value)
        if turn == 1:
            assert answer.stats.forwards == 1, 'a repeated answer needs no forward for the head'
    assert len(set(values)) == len(values)


def test_without_a_head_or_for_another_tag_the_model_speaks_for_itself(tmp_path):
    vlm = tiny_vlm.__wrapped__(3)
    folder = make_adapter(tmp_path / 'drawer', vlm, 1, tasks=TASKS[:1])
    write_head(folder, 64)
    ours = with_adapters(vlm, folder)
    script = Tagged(ours, TEXTS)
    decoder = StreamingDecoder(ours, max_new_tokens=64, choice=script)
    frames = frames_for(vlm, 2)
    bare = decoder.answer(ask(frames, TASKS[1], number_tag='progress'))
    assert bare.finish is Finish.STOP
    assert bare.number
    for task in (TASKS[0], TASKS[1]):
        answer = decoder.answer(ask(frames, task, number_tag='score'))
        assert '<progress>42%</progress>' in answer.text
        assert answer.finish is Finish.STOP


def test_digits_that_were_learnt_with_a_spread_give_their_mean(tmp_path):
    vlm = tiny_vlm.__wrapped__(3)
    folder = make_adapter(tmp_path / 'drawer', vlm, 1)
    write_adaptation(folder, tasks=TASKS[:1], means=True)
    ours = with_adapters(vlm, folder)
    script = Tagged(ours, TEXTS)
    decoder = StreamingDecoder(ours, max_new_tokens=64, choice=script)
    frames = frames_for(vlm, 7)

    def said(task, turn, tag='progress'):
        script.turn = turn
        return decoder.answer(ask(frames, task, number_tag=tag))

    for turn in (0, 1):
        answer = said(TASKS[0], turn)
        assert '<progress>49.50%' in answer.text, 'of all digits each is as likely'
        assert answer.text.split('<')[0] == TEXTS[turn].split('<')[0]
        assert answer.number == said(TASKS[1], turn).number
    assert '<progress>100%' in said(TASKS[0], 3).text
    assert '<progress>n/a' in said(TASKS[0], 4).text
    assert '<progress>42%' in said(TASKS[1], 0).text
    assert '<progress>42%' in said(TASKS[0], 0, 'score').text


def test_a_step_of_static_shape_gives_the_hidden_states_of_the_eager_one(tmp_path):
    from progress_monitor.vlm.graphs import FixedStep

    vlm = tiny_vlm.__wrapped__(0)
    folder = make_adapter(tmp_path / 'drawer', vlm, 1, tasks=TASKS[:1])
    write_head(folder, 64)
    decoder = StreamingDecoder(with_adapters(vlm, folder), max_new_tokens=4)
    decoder.answer(ask(frames_for(vlm, 2), TASKS[0]))
    cache = decoder._sessions.get('', 'drawer').cache
    length = cache.length
    with torch.inference_mode():
        decoder._forwards.step([20, 21], 40)
        eager = cache.hidden()[length:].clone()
        cache.crop(length)
        step = FixedStep(decoder._architecture.text, cache, 2)
        step.place([20, 21], 40)
        step.run()
    assert torch.allclose(step.hidden, eager, atol=1e-5)


def test_a_head_that_is_not_finite_is_refused(tmp_path):
    vlm = tiny_vlm.__wrapped__(0)
    folder = make_adapter(tmp_path / 'drawer', vlm, 1)
    tensors = write_head(folder, 64)
    tensors['value_head.8.bias'] = torch.tensor([torch.nan])
    save_file(tensors, folder / 'procvlm_head.safetensors')
    with pytest.raises(VLMError, match='not finite'):
        with_adapters(vlm, folder)


@pytest.mark.parametrize('half', ['lora_A', 'lora_B'])
def test_an_adapter_of_which_half_is_lost_is_refused(tmp_path, half):
    """Without its second half it would change nothing, and nobody would know."""
    vlm = tiny_vlm(0)
    folder = make_adapter(tmp_path / 'half', vlm, 1)
    parts = load_file(folder / 'adapter_model.safetensors')
    kept = {name: part for name, part in parts.items() if half in name}
    save_file(kept, folder / 'adapter_model.safetensors')
    with pytest.raises(VLMError, match=r'half cannot be put on'):
        with_adapters(vlm, folder)
