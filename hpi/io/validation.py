"""Validating YAML and other content against records, with errors that name file and field."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from hpi.errors import ConfigError, HpiError, not_found


class Record(BaseModel):
    """Base of frozen records. Unknown fields are errors, so that a typo is noticed, and so are infinite numbers.

    Example:
        >>> class Size(Record):
        ...     width: int
        >>> parse(Size, {"widht": 3}, "size.yaml")
        Traceback (most recent call last):
        hpi.errors.ConfigError: size.yaml: at the top: unknown field 'widht', did you mean 'width'?
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _know_every_field(cls, content: object) -> object:
        if isinstance(content, Mapping):
            known = {field.alias or name: field for name, field in cls.model_fields.items()}
            for unknown in (str(key) for key in content if key not in known):
                meant = nearest(unknown, known)
                hint = f"did you mean {meant!r}?" if meant else f"known are {', '.join(known)}"
                raise PydanticCustomError(
                    "unknown_field", "unknown field {field}, {hint}", {"field": repr(unknown), "hint": hint}
                )
            for name, field in known.items():
                if _holds_bool(content.get(name)) and not _may_be_bool(field.annotation):
                    raise PydanticCustomError(
                        "bool_for_number",
                        "field {field} is {value}, neither a number nor text; write it as a number or in quotes",
                        {"field": repr(name), "value": repr(content[name])},
                    )
        return content


def _holds_bool(value: object) -> bool:
    """Whether a value is a boolean, or a list that contains one."""
    return isinstance(value, bool) or (isinstance(value, (list, tuple)) and any(_holds_bool(one) for one in value))


def _may_be_bool(annotation: Any) -> bool:
    """Whether a field accepts booleans, or is a section that validates itself."""
    inner = get_args(annotation)
    if get_origin(annotation) is Literal:
        return any(isinstance(one, bool) for one in inner)
    if inner:
        return any(_may_be_bool(one) for one in inner)
    if annotation is bool or annotation is Any or annotation is object:
        return True
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


# libyaml reads ten times as fast; a PyYAML that was built without it has only its own parser.
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_SafeLoader):  # type: ignore[misc]
    """Reads plain YAML, and refuses duplicate keys, of which YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable):
                if key in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key!r} appears twice; keep one", key_node.start_mark
                    )
                seen.add(key)
        content: dict[Any, Any] = super().construct_mapping(node, deep)
        return content


def nearest(unknown: str, known: Iterable[str], *, most: float = 0.4) -> str | None:
    """The known name that an unknown one is probably a typo of, or None.

    Case, underscores and hyphens are ignored.

    Args:
        unknown: a name of any length.
        known: the names to compare it with.
        most: limit of the differing letters, as a share of the longer name.

    Example:
        >>> nearest("det_thresh", ["detThreshold", "visualize"])
        'detThreshold'
        >>> nearest("imageWidth", ["image"], most=0.25)
    """
    letters = _letters(unknown)
    shares = {name: _differing_share(letters, _letters(name), most) for name in known}
    best = min(shares, key=shares.__getitem__, default=None)
    return best if best is not None and shares[best] <= most else None


def _letters(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def _differing_share(one: str, other: str, most: float) -> float:
    longer = max(len(one), len(other), 1)
    if abs(len(one) - len(other)) > most * longer:  # comparing long names takes long
        return 1.0
    matcher = SequenceMatcher(None, one, other, autojunk=False)
    return 1 - sum(block.size for block in matcher.get_matching_blocks()) / longer


MAX_YAML_BYTES = 1 << 20
MAX_ERRORS = 5

AnyRecord = TypeVar("AnyRecord", bound=BaseModel)


def is_yaml(name: str | Path) -> bool:
    """Whether a name ends like that of a YAML file.

    Example:
        >>> is_yaml("pipeline.yml"), is_yaml("human_keypoint_detection")
        (True, False)
    """
    return str(name).lower().endswith((".yaml", ".yml"))


def read_yaml(path: Path, error: type[HpiError] = ConfigError) -> Any:
    """Read a YAML file.

    Args:
        path: the file.
        error: class of the error to raise.

    Raises:
        HpiError: of class ``error``: the file is missing, larger than 1 MiB, not valid YAML, or has a key twice. For a
            missing file, it is also a FileNotFoundError.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder) / "size.yaml"
        ...     _ = file.write_text("width: 640")
        ...     read_yaml(file)
        {'width': 640}
    """
    try:
        if path.stat().st_size > MAX_YAML_BYTES:
            raise error(f"{path}: larger than {MAX_YAML_BYTES >> 10} KiB")
        return yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except HpiError:
        raise
    except OSError as problem:
        kind = not_found(error) if isinstance(problem, FileNotFoundError) else error
        raise kind(f"{path}: cannot be read: {problem.strerror or problem}") from problem
    except (yaml.YAMLError, ValueError, RecursionError) as problem:  # ValueError: an invalid date or number
        raise error(f"{path}: not valid YAML: {' '.join(str(problem).split())}") from problem


def read_json(path: Path, error: type[HpiError] = ConfigError) -> Any:
    """Read a JSON file of another program.

    Args:
        path: the file.
        error: class of the error to raise.

    Raises:
        HpiError: of class ``error``: as :func:`read_yaml`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder) / "size.json"
        ...     _ = file.write_text('{"width": 640}')
        ...     read_json(file)
        {'width': 640}
    """
    try:
        if path.stat().st_size > MAX_YAML_BYTES:
            raise error(f"{path}: larger than {MAX_YAML_BYTES >> 10} KiB")
        return json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_without_doubles)
    except HpiError:
        raise
    except OSError as problem:
        kind = not_found(error) if isinstance(problem, FileNotFoundError) else error
        raise kind(f"{path}: cannot be read: {problem.strerror or problem}") from problem
    except (ValueError, RecursionError) as problem:
        raise error(f"{path}: not valid JSON: {' '.join(str(problem).split())}") from problem


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} appears twice; keep one")
    return content


def parse(
    kind: type[AnyRecord],
    content: object,
    where: str,
    error: type[HpiError] = ConfigError,
    *,
    owner: Callable[[Sequence[int | str]], str] = lambda _: "",
) -> AnyRecord:
    """Validate content against a record.

    Args:
        kind: class of the record.
        content: its fields.
        where: what errors name, such as the path of the file.
        error: class of the error to raise.
        owner: returns what errors add to the location of a field, such as the ID of the entry that it belongs to.

    Raises:
        HpiError: of class ``error``: fields are wrong; the message names up to five of them.

    Example:
        >>> class Size(Record):
        ...     width: int
        >>> parse(Size, {"width": 640}, "size.yaml")
        Size(width=640)
        >>> parse(Size, {}, "size.yaml")
        Traceback (most recent call last):
        hpi.errors.ConfigError: size.yaml: field 'width' is missing
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
    if problem["type"] in {"unknown_field", "bool_for_number"}:
        return f"{field}: {problem['msg']}"
    return f"field {field!r}{owner}: {problem['msg']} (got {reprlib.repr(problem['input'])})"
