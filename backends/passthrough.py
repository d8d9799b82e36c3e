"""Options that callers give to a runtime by its own names, set on the runtime's objects or refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from hpi.backends.messages import summarize
from hpi.errors import BackendError


def unknown_option(runtime: str, name: str, known: Iterable[str]) -> BackendError:
    """The error for an option that a runtime does not have.

    Example:
        >>> str(unknown_option("onnxruntime", "enable_mem_patern", ["enable_mem_pattern", "logid"]))
        "onnxruntime has no option 'enable_mem_patern'; did you mean 'enable_mem_pattern'?"
    """
    known = sorted(known)
    meant = get_close_matches(name, known, 1)
    hint = f"did you mean {meant[0]!r}?" if meant else f"known are {', '.join(known)}"
    return BackendError(f"{runtime} has no option {name!r}; {hint}")


def refused_value(runtime: str, name: str, value: object, reason: object) -> BackendError:
    """The error for a value that a runtime does not take.

    Example:
        >>> str(refused_value("openvino", "NUM_STREAMS", "many", "not a number"))
        "openvino refuses the option NUM_STREAMS='many': not a number"
    """
    return BackendError(f"{runtime} refuses the option {name}={value!r}: {summarize(str(reason))}")


def set_attributes(runtime: str, target: Any, options: Mapping[str, Any]) -> None:
    """Set attributes of a runtime's object; an enumeration takes the name of one of its members.

    Args:
        runtime: the runtime's name, for messages.
        target: an object whose attributes hold strings, numbers, bools or enumerations.
        options: values by attribute.

    Raises:
        BackendError: there is no such attribute, or it does not take the value.

    Example:
        >>> from types import SimpleNamespace
        >>> settings = SimpleNamespace(threads=2, profiling=False)
        >>> set_attributes("mine", settings, {"profiling": True})
        >>> settings
        namespace(threads=2, profiling=True)
    """
    for name, value in options.items():
        if name not in (known := attributes_of(target)):
            raise unknown_option(runtime, name, known)
        members = _members(getattr(target, name))
        if members and value not in members:
            raise refused_value(runtime, name, value, f"known are {', '.join(members)}")
        wanted = members[value] if members else value
        try:
            setattr(target, name, wanted)
            engaged = getattr(target, name)
        except Exception as error:
            raise refused_value(runtime, name, value, error) from error
        if engaged != wanted:
            raise refused_value(runtime, name, value, f"it stays at {engaged}")


def attributes_of(target: Any) -> list[str]:
    """The attributes that :func:`set_attributes` can set.

    Example:
        >>> from types import SimpleNamespace
        >>> attributes_of(SimpleNamespace(threads=2, log=print))
        ['threads']
    """
    return [name for name in dir(target) if not name.startswith("_") and _is_settable(target, name)]


def _is_settable(target: Any, name: str) -> bool:
    try:
        value = getattr(target, name)
    except Exception:  # noqa: BLE001 - what cannot be read back cannot be checked either
        return False
    return isinstance(value, str | int | float) or bool(_members(value))


def _members(value: object) -> Mapping[str, Any]:
    """The members of an enumeration of pybind11 or of Python by name; nothing for other values."""
    return getattr(type(value), "__members__", {})
