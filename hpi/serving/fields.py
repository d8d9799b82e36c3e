"""Unknown fields of a request: likely typos are errors, others are logged."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from http import HTTPStatus
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from hpi.compat.paddlex.http_protocol import field_errors
from hpi.io.validation import nearest
from hpi.serving.limits import RequestError

logger = logging.getLogger(__name__)

MAX_FIELDS = 100
"""Limit of a request's fields, since each unknown one is compared with the known ones."""
MAX_REMEMBERED = 100
MAX_LETTERS = 60

_TYPO = 0.25
"""Share of the letters that a typo changes: one of ``image``, three of ``detThreshold``."""

AnyModel = TypeVar("AnyModel", bound=BaseModel)


class UnknownFields:
    """Logs each unknown field once. What is remembered is bounded, so clients cannot fill the log or the memory.

    Example:
        >>> fields = UnknownFields()
        >>> fields.check("body", ["image"], known=["image", "visualize"])
        >>> fields.check("body", ["imgae"], known=["image", "visualize"])  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        hpi.serving.limits.RequestError: [{..., "loc": "body.imgae", "msg": "Unknown field, did you mean 'image'?"}]
    """

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def check(self, where: str, names: Collection[str], known: Iterable[str]) -> None:
        """Check the fields of a request.

        Args:
            where: the part of the request, such as ``"body"``.
            names: the fields in it.
            known: the fields that have a meaning there.

        Raises:
            RequestError: 422, an unknown field resembles a known one, or there are too many fields.
        """
        if len(names) > MAX_FIELDS:
            raise wrong("too_many_fields", where, f"{len(names)} fields; at most {MAX_FIELDS} are accepted")
        known = tuple(known)
        for name in names:
            if name in known:
                continue
            if meant := nearest(name, known, most=_TYPO):
                raise wrong("unknown_field", f"{where}.{name[:MAX_LETTERS]}", f"Unknown field, did you mean {meant!r}?")
            self._log(where, name[:MAX_LETTERS])

    def _log(self, where: str, name: str) -> None:
        if name in self._seen or len(self._seen) == MAX_REMEMBERED:
            return
        self._seen.add(name)
        last = "; no further names are logged" if len(self._seen) == MAX_REMEMBERED else ""
        logger.warning("a request has the unknown field %r in its %s, which has no effect%s", name, where, last)


def validated(kind: type[AnyModel], content: object, where: str) -> AnyModel:
    """Parse content into a record.

    Args:
        kind: class of the record.
        content: its fields.
        where: the part of the request, such as ``"body"``.

    Raises:
        RequestError: 422, fields are wrong; the message names each of them.

    Example:
        >>> from hpi.compat.paddlex.http_protocol import Options
        >>> validated(Options, {"detThreshold": 0.5}, "body")
        Options(detThreshold=0.5, visualize=None)
    """
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        problems = [
            (one["type"], ".".join([where, *map(str, one["loc"])]), one["msg"])
            for one in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        raise _refused(problems) from error


def wrong(kind: str, where: str, message: str) -> RequestError:
    """The error for a request in which one field is wrong.

    Args:
        kind: a word for programs, such as ``"missing"``.
        where: the field, such as ``"body.image"``.
        message: what is wrong and what to send instead.

    Example:
        >>> error = wrong("missing", "body.image", "Give one image")
        >>> int(error.status), str(error)
        (422, '[{"type": "missing", "loc": "body.image", "msg": "Give one image"}]')
    """
    return _refused([(kind, where, message)])


def _refused(problems: Sequence[tuple[str, str, str]]) -> RequestError:
    return RequestError(HTTPStatus.UNPROCESSABLE_ENTITY, field_errors(problems))
