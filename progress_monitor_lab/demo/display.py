"""The demo in a terminal: a live panel, or plain lines where the output is no terminal."""

from __future__ import annotations

import math
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from progress_monitor.types import State, StepStatus
from progress_monitor_lab.demo.recording import Event, Recording, events

_STYLES = {
    State.PROGRESSING: 'bold blue',
    State.OBSERVING: 'blue',
    State.STALLED: 'bold red',
    State.REGRESSING: 'bold dark_orange',
    State.SUCCEEDED: 'bold green',
    State.UNSURE: 'yellow',
    State.STALE: 'yellow',
    State.ERROR: 'bold red',
}
_EVENT_STYLES = {
    'fault': 'magenta',
    'stall': 'red',
    'replan': 'cyan',
    'success': 'green',
    'done': 'green',
}
_SHOWN_EVENTS = 7
_LINE_PERIOD_NS = 2_000_000_000


class Display:
    """Shows a recording while it grows; call ``update`` a few times a second."""

    def __init__(self, recording: Recording, console: Console) -> None:
        self._recording = recording
        self._console = console
        self._told: list[Event] = []
        self._state: State | None = None
        self._line_due_ns = 0
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> Display:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def update(self, now_ns: int) -> None:
        """Show how things stand."""
        if self._live is not None:
            self._live.update(self._panel(now_ns), refresh=True)
        else:
            self._lines(now_ns)

    def _lines(self, now_ns: int) -> None:
        recording = self._recording
        for event in events(recording):
            if event not in self._told:
                self._told.append(event)
                self._print(event.at_ns, f'* {event.text}')
        status = recording.statuses[-1] if recording.statuses else None
        if status is None:
            return
        # Until the robot moves there is nothing to follow but the state.
        due = bool(recording.truths) and now_ns >= self._line_due_ns
        if status.state is self._state and not due:
            return
        self._state, self._line_due_ns = status.state, now_ns + _LINE_PERIOD_NS
        tick = recording.ticks[-1] if recording.ticks else None
        words = [f'{status.state.name:<12}', _percent(status.progress)]
        if recording.truths:
            words.append(f'(truth {_percent(recording.truths[-1].progress).strip()})')
        if tick is not None and tick.remaining_steps:
            words.append(tick.remaining_steps[0])
        elif status.state is not State.PROGRESSING:
            words.append(status.message)
        self._print(now_ns, ' '.join(words))

    def _print(self, at_ns: int, text: str) -> None:
        known = bool(self._recording.truths)
        time = f'{self._recording.seconds(at_ns):6.1f} s' if known else ' ' * 8
        self._console.print(f'{time}  {text}', markup=False, highlight=False, soft_wrap=True)

    def _panel(self, now_ns: int) -> RenderableType:
        recording = self._recording
        status = recording.statuses[-1] if recording.statuses else None
        state = status.state if status else State.LOADING
        style = _STYLES.get(state, 'dim')
        head = Text.assemble(
            (state.name, style), '  ', (status.message if status else 'starting', 'dim')
        )
        parts: list[RenderableType] = [head, self._bars(style)]
        tick = recording.ticks[-1] if recording.ticks else None
        if tick is not None:
            for step in tick.plan:
                mark = {StepStatus.DONE: '✓', StepStatus.IN_PROGRESS: '▸', StepStatus.UNDONE: '✗'}
                current = step.status in (StepStatus.IN_PROGRESS, StepStatus.UNDONE)
                text = f'  {mark.get(step.status, "·")} {step.text}'
                parts.append(Text(text, style='' if current else 'dim'))
            parts.append(Text(' '.join(tick.reasoning.split()), style='italic dim'))
            parts.append(
                Text(f'tick {len(recording.ticks)}  {tick.inference_ms:.0f} ms', style='dim')
            )
        for event in events(recording)[-_SHOWN_EVENTS:]:
            time = f'{recording.seconds(event.at_ns):6.1f} s  '
            parts.append(
                Text.assemble((time, 'dim'), (event.text, _EVENT_STYLES.get(event.kind, 'dim')))
            )
        seconds = f'{recording.seconds(now_ns):.0f} s' if recording.truths else 'starting'
        title = f'{recording.instruction}  (fault: {recording.fault}, {seconds})'
        return Panel(Group(*parts), title=title, title_align='left')

    def _bars(self, style: str) -> Table:
        recording = self._recording
        table = Table.grid(padding=(0, 1))
        monitor = recording.statuses[-1].progress if recording.statuses else math.nan
        truth = recording.truths[-1].progress if recording.truths else math.nan
        for name, value, colour in (('monitor', monitor, style), ('truth', truth, 'dim')):
            completed = 0.0 if math.isnan(value) else value * 100
            bar = ProgressBar(
                100, completed, width=50, complete_style=colour, finished_style=colour
            )
            table.add_row(name, bar, _percent(value))
        return table


def _percent(value: float) -> str:
    return '  --' if math.isnan(value) else f'{value * 100:3.0f}%'
