"""The bridge to OpenRAL as a process, with a module in the place of ``openral_msgs``.

ROS cannot publish what was never generated, so the stand-ins are types of ours that carry what
OpenRAL's messages hold: each publishes its fields as JSON in a ``std_msgs/String``.
"""

from __future__ import annotations

import json
import sys
from types import ModuleType
from typing import Any

from std_msgs.msg import Header, String

from progress_monitor.ros import openral_bridge


def message(name: str, fields: dict[str, Any], **constants: int) -> Any:
    """A constructor that refuses unknown fields as a generated message does."""

    def make(**given: Any) -> String:
        unknown = set(given) - set(fields)
        assert not unknown, f'{name} has no {unknown}'
        values = {**fields, **given}
        for key, value in values.items():
            assert type(value) is type(fields[key]), f'{name}.{key}: {value!r}'
        stamp = values.pop('header').stamp
        return String(data=json.dumps({**values, 'sec': stamp.sec}))

    type(String).__import_type_support__()

    class Type(type(String)):  # type: ignore[misc]
        def __call__(cls, **given: Any) -> Any:
            return make(**given)

        def __instancecheck__(cls, item: Any) -> bool:
            return isinstance(item, String)

    class Stub(String, metaclass=Type):
        pass

    for key, value in constants.items():
        setattr(Stub, key, value)
    return Stub


msg = ModuleType('openral_msgs.msg')
msg.CriticScore = message(  # type: ignore[attr-defined]
    'CriticScore',
    {'header': Header(), 'critic_id': '', 'score': 0.0, 'threshold': 0.0, 'trace_id': ''},
)
msg.FailureTrigger = message(  # type: ignore[attr-defined]
    'FailureTrigger',
    {
        'header': Header(),
        'kind': 0,
        'severity': 0,
        'evidence_json': '',
        'rskill_id': '',
        'trace_id': '',
    },
    KIND_CRITIC=4,
    SEVERITY_FAIL=2,
)
package = ModuleType('openral_msgs')
package.msg = msg  # type: ignore[attr-defined]
sys.modules.update({'openral_msgs': package, 'openral_msgs.msg': msg})

if __name__ == '__main__':
    sys.exit(openral_bridge.main())
