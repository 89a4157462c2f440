"""Annotating a recording in a terminal, or from a script: one command a line."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TextIO

from progress_monitor.adapt.annotation import Stage
from progress_monitor.adapt.contact_sheet import write_contact_sheet
from progress_monitor.adapt.draft import Draft, DraftError
from progress_monitor.adapt.session import Session
from progress_monitor.printable import printable

HELP = """\
Times are seconds (2.5) or frames (f75). Stages are numbered from 1.
  list                 show the stages
  propose [N]          cut where the motion changes, into N stages if that many are found
  propose model        cut into the steps that the model lists
  cut TIME             divide the stage at TIME
  start TIME           the first stage starts at TIME
  end N TIME           stage N ends at TIME
  merge N              make one stage of N and the next
  text N WORDS         say what stage N does
  task WORDS           say what the whole task is
  done [WORDS]         the recording ends with the task done; WORDS say by what one sees it
  failed [WORDS]       it does not; WORDS say why
  sheet [FILE]         write a picture of where the boundaries are (PNG)
  save                 check and write the annotation
  quit                 leave; what was not saved is lost
"""


class _Left(Exception):
    """The user wants to leave."""


class Terminal:
    """Reads commands and says what came of them.

    :param say: is given each line of text to show.
    """

    def __init__(self, session: Session, say: Callable[[str], None] = print) -> None:
        recording = session.recording
        self.saved = True
        self._session = session
        self._say = say
        self._draft = Draft(session.task, recording.duration_s, recording.fps)
        if session.current is not None:
            self._draft.load(session.current)
        self._commands: dict[str, Callable[[str], None]] = {
            'list': self._list,
            'propose': self._propose,
            'cut': self._cut,
            'start': self._start,
            'end': self._end,
            'merge': self._merge,
            'text': self._text,
            'task': self._task,
            'done': self._done,
            'failed': self._failed,
            'sheet': self._sheet,
            'save': self._save,
            'quit': self._quit,
            'help': lambda words: self._say(HELP),
        }

    def run(self, lines: Iterable[str], stop_at_error: bool) -> int:
        """Obey ``lines`` to their end, or to ``quit``.

        :param stop_at_error: whether the first command that cannot be obeyed is the last.
        :returns: 0; 1 if something was changed and not saved; 2 if stopped at an error.
        """
        for number, line in enumerate(lines, 1):
            word, _, rest = line.strip().partition(' ')
            if not word or word.startswith('#'):
                continue
            try:
                self._obey(word, rest.strip())
            except _Left:
                break
            except (OSError, ValueError) as error:
                self._say(f'line {number}: {error}' if stop_at_error else str(error))
                if stop_at_error:
                    return 2
        if not self.saved:
            self._say('not saved')
        return 0 if self.saved else 1

    def _obey(self, word: str, rest: str) -> None:
        if word not in self._commands:
            raise DraftError(f'{printable(word, 40)}: no command; help lists them')
        self._commands[word](rest)
        if word not in ('list', 'help', 'sheet', 'save'):
            self.saved = False

    def _list(self, words: str) -> None:
        draft, fps = self._draft, self._session.recording.fps
        self._say(f'task: {printable(draft.task) or "(none)"}')
        for number, (text, start_s, end_s) in enumerate(draft.stages, 1):
            frames = f'f{round(start_s * fps)}..f{round(end_s * fps) - 1}'
            said = printable(text) or '(no text)'
            self._say(f'{number:3}  {start_s:7.2f} to {end_s:7.2f} s  {frames:16} {said}')
        reason = f': {printable(draft.reason)}' if draft.reason else ''
        duration_s = self._session.recording.duration_s
        self._say(f'then {self._ending()}{reason}, to {duration_s:.2f} s')

    def _propose(self, words: str) -> None:
        wanted = 0 if words in ('', 'model') else _number(words)
        stages = self._session.propose(words == 'model', self._draft.task, wanted)
        self._draft.take(stages)
        for number, stage in enumerate(stages, 1):
            self._say(f'{number:3}  ends at {stage.end_s:.2f} s: {stage.why}')
        self._list('')

    def _cut(self, words: str) -> None:
        number = self._draft.cut(self._time(words))
        self._say(f'stage {number} begins there')

    def _start(self, words: str) -> None:
        self._draft.move(0, self._time(words))

    def _end(self, words: str) -> None:
        number, _, time = words.partition(' ')
        index = _number(number)
        if index < 1:
            raise DraftError(f'there is no stage {index}')
        self._draft.move(index, self._time(time))

    def _merge(self, words: str) -> None:
        self._draft.merge(_number(words))

    def _text(self, words: str) -> None:
        number, _, text = words.partition(' ')
        self._draft.name(_number(number), text.strip())

    def _task(self, words: str) -> None:
        self._draft.task = words

    def _done(self, words: str) -> None:
        self._draft.done, self._draft.reason = True, words

    def _failed(self, words: str) -> None:
        self._draft.done, self._draft.reason = False, words

    def _sheet(self, words: str) -> None:
        path = Path(words) if words else self._session.out.with_suffix('.png')
        stages = [Stage(text or '(no text)', start, end) for text, start, end in self._draft.stages]
        write_contact_sheet(self._session.recording, stages, f'then {self._ending()}', path)
        self._say(f'written to {path}')

    def _save(self, words: str) -> None:
        self._session.save(self._draft.entry())
        self.saved = True
        self._say(f'written to {self._session.out}')

    def _quit(self, words: str) -> None:
        raise _Left

    def _ending(self) -> str:
        return 'done' if self._draft.done else 'not done'

    def _time(self, words: str) -> float:
        try:
            if words.startswith('f'):
                return int(words[1:]) / self._session.recording.fps
            time_s = float(words)
        except ValueError:
            raise DraftError(
                f'{printable(words, 40)!r}: no time; give seconds (2.5) or a frame (f75)'
            ) from None
        if not 0.0 <= time_s <= self._session.recording.duration_s:
            raise DraftError(f'{time_s:g} s lies outside the recording')
        return time_s


def lines_of(stream: TextIO, prompt: bool) -> Iterable[str]:
    """Lines of ``stream``; where a person types them, with a prompt and the keys of readline."""
    if not prompt:
        yield from stream
        return
    import readline  # noqa: F401  input() then has a history and can be edited

    while True:
        try:
            yield input('> ')
        except EOFError:
            print()
            return


def _number(words: str) -> int:
    if not words.isdecimal() or len(words) > 4:
        raise DraftError(f'{printable(words, 40)!r}: no number of a stage')
    return int(words)
