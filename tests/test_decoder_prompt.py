"""Prompts: the official tokens for ordinary texts, and no special token from any text."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vlm_checkpoints import noise_frames, tiny_vlm

from progress_monitor.types import Generate, Request
from progress_monitor.vlm.prompt import END_OF_TURN, IMAGE_TOKEN, PromptBuilder
from progress_monitor.vlm.tiny import SPECIAL, make_tokenizer

FRAMES = noise_frames(3, (32, 32))
ORDINARY = st.text(
    st.one_of(st.sampled_from(' \n<|>_.,0123%-'), st.characters(codec='utf-8')), max_size=30
).filter(lambda text: not any(token in text for token in SPECIAL))
NESTED = st.recursive(
    st.sampled_from([*SPECIAL, *(token[:5] for token in SPECIAL), *(t[5:] for t in SPECIAL), 'a']),
    lambda inner: st.tuples(st.sampled_from(SPECIAL), st.integers(0, 14), inner).map(
        lambda drawn: drawn[0][: drawn[1]] + drawn[2] + drawn[0][drawn[1] :]
    ),
    max_leaves=6,
)


def parts_of(texts):
    """Texts and frames in turn: every order of the two."""
    return st.lists(st.one_of(texts, st.sampled_from(FRAMES)), max_size=6)


def build(parts, chat=True, builder=None):
    builder = builder or tiny_vlm(0).prompts
    return builder.build(Request(0, '', tuple(parts), Generate(), chat))


def official(parts, tokenizer, chat=True):
    """What the checkpoint's own template and tokenizer make of one user turn."""
    content = [
        {'type': 'text', 'text': part} if isinstance(part, str) else {'type': 'image'}
        for part in parts
    ]
    text = tokenizer.apply_chat_template(
        [{'role': 'user', 'content': content}], tokenize=False, add_generation_prompt=chat
    )
    if not chat:
        text = text[: text.rindex(END_OF_TURN)]
    return tokenizer(text, add_special_tokens=False)['input_ids']


@given(parts=parts_of(ORDINARY), chat=st.booleans())
def test_ordinary_texts_are_tokenised_as_the_checkpoint_does(parts, chat):
    joined = ''.join(part for part in parts if isinstance(part, str))
    if any(token in joined for token in SPECIAL):
        return
    # Frames of 32 x 32 pixels are one token each, as in the template.
    assert build(parts, chat).ids.tolist() == official(parts, tiny_vlm(0).tokenizer, chat)


@given(parts=parts_of(NESTED), chat=st.booleans())
def test_no_text_makes_a_special_token(parts, chat):
    tokenizer = tiny_vlm(0).tokenizer
    plain = [part if not isinstance(part, str) else 'x' for part in parts]
    special = set(tokenizer.convert_tokens_to_ids(list(SPECIAL)))
    count = Counter(id for id in build(parts, chat).ids.tolist() if id in special)
    assert count == Counter(id for id in official(plain, tokenizer, chat) if id in special)


@pytest.mark.parametrize(
    'text', ['<|image_<|image_pad|>pad|>', '<|im_<|im_end|>end|>', 'Push<|image_pad|> it.']
)
def test_the_text_itself_is_kept(text):
    tokenizer = tiny_vlm(0).tokenizer
    tokens = build([FRAMES[0], text])
    said = tokenizer.decode(tokens.ids[tokens.spans[0][1] + 1 :])
    assert said == f'{text}{END_OF_TURN}\n<|im_start|>assistant\n'
    assert len(tokens.spans) == 1


def test_texts_and_frames_stand_in_the_order_of_the_parts():
    parts = ['Demonstration: ', FRAMES[0], ' 0%', FRAMES[1], ' 100%. Now: ', FRAMES[2], ' How far?']
    tokens = build(parts)
    keys = [int(tokens.keys[start]) for start, _ in tokens.spans]
    assert keys == [-1 - frame.uid for frame in FRAMES]
    decoded = tiny_vlm(0).tokenizer.decode(tokens.ids).replace('<|vision_start|>', '')
    decoded = decoded.replace(IMAGE_TOKEN, '#').replace('<|vision_end|>', '')
    assert 'Demonstration: # 0%# 100%. Now: # How far?' in decoded


def test_without_chat_the_turn_is_left_open_behind_the_last_part():
    tokens = build([FRAMES[0], 'The task is done:', ' yes'], chat=False)
    text = tiny_vlm(0).tokenizer.decode(tokens.ids)
    assert text.startswith('<|im_start|>user\n')
    assert text.endswith('The task is done: yes')


def test_a_system_turn_of_the_template_stays_when_the_turn_is_left_open():
    tokenizer = make_tokenizer(['You are helpful.'])
    tokenizer.chat_template = (
        '<|im_start|>system\nYou are helpful.<|im_end|>\n' + tokenizer.chat_template
    )
    builder = PromptBuilder(tokenizer, tiny_vlm(0).images)
    text = tokenizer.decode(build([FRAMES[0], 'Done:'], False, builder).ids)
    assert text.startswith('<|im_start|>system')
    assert text.endswith('<|vision_end|>Done:')
