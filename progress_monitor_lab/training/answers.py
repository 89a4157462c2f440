"""The words of the small checkpoint: prompts and answers in ProcVLM's form.

The prompt is ProcVLM's (arXiv 2605.08774), the memory's line is the monitor's own. Numbers have a
fixed count of digits, which makes them easy to learn and to read digit by digit.
"""

from __future__ import annotations

from collections.abc import Sequence

from progress_monitor_lab.sim.tasks import TASKS

# Tasks of other cells: the answer to each of them, in any scene, is that it does not fit.
FOREIGN_TASKS = (
    'fold the red t-shirt',
    'pour water into the glass',
    'stack the three cups',
    'wipe the table with the cloth',
    'put the banana into the bowl',
    'plug the charger into the socket',
    'turn the tap on',
    'insert the peg into the slot',
    'hang the mug on the rack',
    'cut the carrot into slices',
    'close the laptop',
    'sort the screws by size',
    'unscrew the bottle cap',
    'place the book on the shelf',
    'open the microwave',
    'hammer the nail',
)
HELD_OUT_FOREIGN_TASKS = (
    'tie the shoelace',
    'empty the dishwasher',
    'water the plant',
    'put the apple on the plate',
    'clean the mirror',
    'screw in the light bulb',
)
REFUSAL = 'The task does not fit what is seen. Therefore, the estimated progress is {}'
FINISHED = 'No further steps are required. Therefore, the estimated progress is {}'
REMAINING = 'The following steps are required:\n{}\nTherefore, the estimated progress is {}'


def prompt(task: str, done: Sequence[str] | None) -> str:
    """The user's text. ``done`` is what the memory says; None leaves the memory out."""
    text = (
        f'Given the recent observation and the task "{task}", first infer the remaining atomic '
        'actions required to complete the task. Then estimate the current completion percentage '
        'and output it as a float wrapped by <progress> tags.'
    )
    if done is None:
        return text
    return f'{text} Steps done so far: {"; ".join(done) if done else "none"}.'


def answer(progress: float, remaining: Sequence[str]) -> str:
    """What the model shall say of a scene that fits the task. ``progress`` is 0..1."""
    tag = f'<progress>{percent(progress, not remaining)}</progress>'
    if not remaining:
        return FINISHED.format(tag)
    steps = '\n'.join(f'{number}. {step}.' for number, step in enumerate(remaining, 1))
    return REMAINING.format(steps, tag)


def percent(progress: float, done: bool) -> str:
    """``progress`` (0..1) in a fixed count of digits; 100 only for what is done."""
    return '100%' if done else f'{min(round(progress * 100), 99):02d}%'


def refusal() -> str:
    """What the model shall say of a scene that does not fit the task."""
    return REFUSAL.format('<progress>n/a</progress>')


def stages(task: str) -> tuple[str, ...]:
    """The atomic actions of a task, in order."""
    return tuple(stage.action for stage in TASKS[task].stages)


def wordings(task: str) -> tuple[str, ...]:
    """The task's text and its paraphrases."""
    return (TASKS[task].instruction, *TASKS[task].paraphrases)


def unfitting(task: str) -> tuple[str, ...]:
    """Task texts that do not fit the scene of ``task``."""
    scene = TASKS[task].scene
    kinds = {item.scene.split('-')[0] for item in TASKS.values() if item.scene == scene}
    others = [
        text
        for item in TASKS.values()
        if item.scene.split('-')[0] not in kinds
        for text in wordings(item.name)
    ]
    return (*others, *FOREIGN_TASKS)


def corpus() -> list[str]:
    """Everything that can be said, for the tokenizer to learn its words from."""
    texts: list[str] = []
    for name in TASKS:
        steps = stages(name)
        for wording in wordings(name):
            for count in range(len(steps) + 1):
                texts.append(prompt(wording, steps[:count]))
                texts.append(answer(count / 10, steps[count:]))
    texts += [prompt(text, None) for text in FOREIGN_TASKS]
    texts += [answer(number / 100, ('Reach',)) for number in range(100)]
    return [*texts, refusal(), *['<progress>', '</progress>'] * 50]
