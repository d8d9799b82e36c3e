"""Reading YAML files into pydantic models, with errors that name file and field."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from hpi.errors import ConfigError, HpiError, not_found


class Record(BaseModel):
    """A frozen record that refuses fields it does not know, so that a typo is an error, and infinite numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _know_every_field(cls, content: object) -> object:
        if isinstance(content, Mapping):
            known = [field.alias or name for name, field in cls.model_fields.items()]
            for unknown in (str(key) for key in content if key not in known):
                nearest = difflib.get_close_matches(unknown, known, n=1, cutoff=0.5)
                hint = f"did you mean {nearest[0]!r}?" if nearest else f"known are {', '.join(known)}"
                raise PydanticCustomError(
                    "unknown_field", "unknown field {field}, {hint}", {"field": repr(unknown), "hint": hint}
                )
        return content


MAX_YAML_BYTES = 1 << 20
MAX_ERRORS = 5

AnyRecord = TypeVar("AnyRecord", bound=BaseModel)


def is_yaml(name: str | Path) -> bool:
    """Whether a name is that of a YAML file."""
    return str(name).endswith((".yaml", ".yml"))


def read_yaml(path: Path, error: type[HpiError] = ConfigError) -> Any:
    """The content of a YAML file; ``error`` when it cannot be read or parsed."""
    try:
        if path.stat().st_size > MAX_YAML_BYTES:
            raise error(f"{path}: larger than {MAX_YAML_BYTES >> 10} KiB")
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except HpiError:
        raise
    except OSError as problem:
        kind = not_found(error) if isinstance(problem, FileNotFoundError) else error
        raise kind(f"{path}: cannot be read: {problem.strerror or problem}") from problem
    except (yaml.YAMLError, ValueError, RecursionError) as problem:  # ValueError: a date or number that is none
        raise error(f"{path}: not valid YAML: {' '.join(str(problem).split())}") from problem


def parse(
    kind: type[AnyRecord],
    content: object,
    where: str,
    error: type[HpiError] = ConfigError,
    *,
    owner: Callable[[Sequence[int | str]], str] = lambda _: "",
) -> AnyRecord:
    """Validate content against a model; ``error`` lists each wrong field as ``where: field: what``.

    ``owner`` says more of the place of a field, such as the id of the entry that it belongs to.
    """
    try:
        return kind.model_validate(content)
    except ValidationError as problem:
        found = problem.errors()
        more = f"; and {len(found) - MAX_ERRORS} more" if len(found) > MAX_ERRORS else ""
        described = (_describe(dict(one), owner(one["loc"])) for one in found[:MAX_ERRORS])
        raise error("; ".join(f"{where}: {text}" for text in described) + more) from problem


def _describe(problem: dict[str, Any], owner: str) -> str:
    field = ".".join(str(part) for part in problem["loc"]) or "at the top"
    if problem["type"] == "missing":
        return f"field {field!r}{owner} is missing"
    if problem["type"] == "unknown_field":
        return f"{field}: {problem['msg']}"
    return f"field {field!r}{owner}: {problem['msg']} (got {reprlib.repr(problem['input'])})"
