"""The policy: per cause and step, an ordered ladder of what to try; from parameters or a YAML file.

::

    budget: 5              # retries, replans and moves home for one task before a person is asked
    cool_down_s: 5.0       # shortest time from one of them to the next
    actions:
      retry: {service: /robot/retry}
      replan: {action: /planner/replan, type: my_msgs/action/Replan, goal: {fast: true}}
      home: {topic: /robot/requests}
    rules:                 # the first that fits the stall holds
      - cause: REGRESSION  # NO_CHANGE, REGRESSION, LOOPING; left out: any
        step: '*drawer*'   # pattern for the step's text; left out: any
        ladder: [{do: replan, attempts: 2}, ask_person]
      - ladder: [{do: wait, seconds: 5}, retry, replan, home, ask_person]
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from progress_monitor.parameters import ParameterError, parameter
from progress_monitor.yaml_file import read_yaml

WAIT, ASK_PERSON = 'wait', 'ask_person'
ASKED = ('retry', 'replan', 'home')
CAUSES = ('NO_CHANGE', 'REGRESSION', 'LOOPING')
_KINDS = ('service', 'action', 'topic')
_TYPE = re.compile(r'[a-zA-Z]\w*/action/[a-zA-Z]\w*')
_NAME = re.compile(r'(~/|/)?[A-Za-z_]\w*(/[A-Za-z_]\w*)*')


@dataclass(frozen=True)
class RecoveryConfig:
    """Bounds of the recovery where no policy file is named."""

    max_attempts: int = parameter(
        3, 'Replans tried for one task before a person is asked.', minimum=0, maximum=100
    )
    cool_down_s: float = parameter(
        5.0, 'Shortest time from one replan to the next, s.', minimum=0.0, maximum=3600.0
    )
    wait_s: float = parameter(
        5.0,
        'How long a stall whose hint is WAIT may go on before a replan, s.',
        minimum=0.0,
        maximum=3600.0,
    )


@dataclass(frozen=True)
class Target:
    """Whom an action asks. ``kind`` is service (std_srvs/Trigger), action or topic (String)."""

    kind: str
    name: str
    type: str = ''
    goal: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Rung:
    """One thing to try, up to ``attempts`` times a task. ``when_hinted``: only on the hint WAIT."""

    do: str
    attempts: int = 1
    seconds: float = 0.0
    cool_down_s: float = 0.0
    when_hinted: bool = False


@dataclass(frozen=True)
class Rule:
    """A ladder for the stalls that it fits. ``cause`` empty: any; ``step`` is a shell pattern."""

    ladder: tuple[Rung, ...]
    cause: str = ''
    step: str = '*'

    def fits(self, cause: str, step: str) -> bool:
        """Whether the rule holds for a stall of this cause in this step."""
        wanted = not self.cause or self.cause == cause
        return wanted and fnmatch.fnmatchcase(step.lower(), self.step.lower())


@dataclass(frozen=True)
class Policy:
    """What may be tried. ``budget`` bounds retries, replans and moves home of one task."""

    rules: tuple[Rule, ...]
    targets: Mapping[str, Target]
    budget: int

    def rule(self, cause: str, step: str) -> Rule | None:
        """The first rule that fits."""
        return next((rule for rule in self.rules if rule.fits(cause, step)), None)


def from_parameters(config: RecoveryConfig, replan_service: str) -> Policy:
    """The policy without a file: wait where that is advised, replan, then ask a person."""
    ladder = (
        Rung(WAIT, attempts=100, seconds=config.wait_s, when_hinted=True),
        Rung('replan', attempts=config.max_attempts, cool_down_s=config.cool_down_s),
        Rung(ASK_PERSON),
    )
    targets = {'replan': Target('service', replan_service)}
    return Policy((Rule(ladder),), targets, config.max_attempts)


def load(path: Path) -> Policy:
    """Read a policy file.

    :raises ParameterError: naming file and entry, if it cannot be used.
    """
    try:
        document = read_yaml(path)
    except OSError as error:
        raise ParameterError(f'policy_file: {path}: {error.strerror}') from error
    except ParameterError as error:
        raise ParameterError(f'policy_file: {error}') from error
    return _Reader(path).policy(document)


class _Reader:
    """Checks a document entry by entry, so that an error can name the one that is wrong."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def policy(self, document: Any) -> Policy:
        top = self._mapping('', document, ('budget', 'cool_down_s', 'actions', 'rules'))
        cool_down_s = self._number('cool_down_s', top.get('cool_down_s', 5.0))
        actions = self._mapping('actions', top.get('actions', {}), (*ASKED, ASK_PERSON))
        targets = {name: self._target(f'actions.{name}', item) for name, item in actions.items()}
        rules = top.get('rules')
        if not isinstance(rules, list) or not rules:
            raise self._error('rules', 'expected a list of at least one rule')
        return Policy(
            tuple(
                self._rule(f'rules[{number}]', rule, targets, cool_down_s)
                for number, rule in enumerate(rules)
            ),
            targets,
            self._count('budget', top.get('budget', 3), 0),
        )

    def _rule(
        self, where: str, item: Any, targets: Mapping[str, Target], cool_down_s: float
    ) -> Rule:
        rule = self._mapping(where, item, ('cause', 'step', 'ladder'))
        cause = rule.get('cause', '')
        if cause and cause not in CAUSES:
            raise self._error(f'{where}.cause', f'{cause!r} is not one of {", ".join(CAUSES)}')
        step = rule.get('step', '*')
        if not isinstance(step, str) or not step:
            raise self._error(f'{where}.step', f'expected a pattern, got {step!r}')
        ladder = rule.get('ladder')
        if not isinstance(ladder, list) or not ladder:
            raise self._error(f'{where}.ladder', 'expected a list of at least one rung')
        rungs = [
            self._rung(f'{where}.ladder[{number}]', rung, targets, cool_down_s)
            for number, rung in enumerate(ladder)
        ]
        last = next((n for n, rung in enumerate(rungs) if rung.do == ASK_PERSON), len(rungs))
        if last < len(rungs) - 1:
            raise self._error(f'{where}.ladder[{last}]', 'nothing can follow ask_person')
        return Rule(tuple(rungs), str(cause), step)

    def _rung(
        self, where: str, item: Any, targets: Mapping[str, Target], cool_down_s: float
    ) -> Rung:
        given = {'do': item} if isinstance(item, str) else item
        rung = self._mapping(where, given, ('do', 'attempts', 'seconds', 'cool_down_s'))
        do = rung.get('do')
        known = (WAIT, *ASKED, ASK_PERSON)
        if do not in known:
            raise self._error(f'{where}.do', f'{do!r} is not one of {", ".join(known)}')
        if do in ASKED and do not in targets:
            raise self._error(where, f'{do} is not described under actions')
        if do == WAIT and 'seconds' not in rung:
            raise self._error(where, 'wait needs seconds')
        if do != WAIT and 'seconds' in rung:
            raise self._error(f'{where}.seconds', f'only wait takes seconds, not {do}')
        return Rung(
            do,
            self._count(f'{where}.attempts', rung.get('attempts', 1), 1),
            self._number(f'{where}.seconds', rung.get('seconds', 0.0)),
            self._number(f'{where}.cool_down_s', rung.get('cool_down_s', cool_down_s)),
        )

    def _target(self, where: str, item: Any) -> Target:
        entry = self._mapping(where, item, (*_KINDS, 'type', 'goal'))
        kinds = [kind for kind in _KINDS if kind in entry]
        if len(kinds) != 1:
            raise self._error(where, f'expected exactly one of {", ".join(_KINDS)}')
        kind, name = kinds[0], entry[kinds[0]]
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise self._error(f'{where}.{kind}', f'{name!r} is not a ROS name')
        goal = self._mapping(f'{where}.goal', entry.get('goal', {}), None)
        wanted = entry.get('type', '')
        if kind != 'action':
            for extra in ('type', 'goal'):
                if extra in entry:
                    raise self._error(f'{where}.{extra}', 'only an action has one')
        elif not isinstance(wanted, str) or not _TYPE.fullmatch(wanted):
            raise self._error(
                f'{where}.type', f'expected package/action/Name of the action, got {wanted!r}'
            )
        return Target(kind, name, wanted, goal)

    def _mapping(self, where: str, item: Any, keys: tuple[str, ...] | None) -> dict[str, Any]:
        if not isinstance(item, dict):
            raise self._error(where, f'expected a mapping, got {type(item).__name__}')
        for key in item:
            if keys is not None and key not in keys:
                name = f'{where}.{key}' if where else str(key)
                raise self._error(name, f'no such entry; known: {", ".join(keys)}')
        return item

    def _number(self, where: str, value: Any) -> float:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not 0.0 <= value <= 3600.0:
            raise self._error(where, f'{value!r} is not a time from 0 to 3600 s')
        return float(value)

    def _count(self, where: str, value: Any, least: int) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= 100:
            raise self._error(where, f'{value!r} is not a whole number from {least} to 100')
        return value

    def _error(self, where: str, what: str) -> ParameterError:
        place = f'{where}: ' if where else ''
        return ParameterError(f'policy_file: {self._path}: {place}{what}')
