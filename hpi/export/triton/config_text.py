"""``config.pbtxt``: Triton's ``ModelConfig`` in protobuf's text format.

The names of the fields are those of ``model_config.proto``, which the tests parse the text with.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


class Name(str):
    """The name of an enum's value, which stands without quotes.

    Example:
        >>> print(config_text({"kind": Name("KIND_CPU")}), end="")
        kind: KIND_CPU
    """

    __slots__ = ()


def config_text(fields: Mapping[str, Any]) -> str:
    """A message in protobuf's text format.

    Args:
        fields: by their names; a mapping is a message, a list a repeated field.

    Example:
        >>> print(config_text({"name": "mine", "input": [{"dims": [-1, 3]}], "dynamic_batching": {}}), end="")
        name: "mine"
        input {
          dims: [-1, 3]
        }
        dynamic_batching {
        }
    """
    return "".join(f"{line}\n" for line in _lines(fields))


def _lines(fields: Mapping[str, Any]) -> Iterator[str]:
    for name, value in fields.items():
        messages = value if isinstance(value, list) and all(isinstance(one, Mapping) for one in value) else [value]
        for one in messages:
            if isinstance(one, Mapping):
                yield f"{name} {{"
                yield from (f"  {line}" for line in _lines(one))
                yield "}"
            else:
                yield f"{name}: {_scalar(one)}"


def _scalar(value: object) -> str:
    if isinstance(value, Name):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value, ensure_ascii=False)


def parameters(values: Mapping[str, str]) -> list[dict[str, Any]]:
    """Entries of the map ``parameters``.

    Example:
        >>> parameters({"native": "openvino"})
        [{'key': 'native', 'value': {'string_value': 'openvino'}}]
    """
    return [{"key": key, "value": {"string_value": value}} for key, value in values.items()]
