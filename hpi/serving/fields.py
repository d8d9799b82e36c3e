"""Fields of a request that are not known: those that look like slips are errors, the others are noted."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from http import HTTPStatus
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from hpi.compat.paddlex.http import field_errors
from hpi.io.validation import nearest
from hpi.serving.limits import RequestError

logger = logging.getLogger(__name__)

MOST_FIELDS = 100
"""Fields of a request; each unknown one is compared with the known ones."""
MOST_REMEMBERED = 100
MOST_LETTERS = 60

_SLIP = 0.25
"""Share of the letters in which a slip differs: one of ``image``, three of ``detThreshold``."""

AnyModel = TypeVar("AnyModel", bound=BaseModel)


class Strangers:
    """Remembers unknown fields, so that each is logged once, and clients cannot fill the log or the memory."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def check(self, where: str, names: Collection[str], known: Iterable[str]) -> None:
        """Look at the fields of a request.

        Args:
            where: the part of the request.
            names: its fields.
            known: those that mean something.

        Raises:
            RequestError: an unknown field is close to a known one, or there are too many fields.
        """
        if len(names) > MOST_FIELDS:
            raise wrong("too_many_fields", where, f"{len(names)} fields; at most {MOST_FIELDS} are taken")
        known = tuple(known)
        for name in names:
            if name in known:
                continue
            if meant := nearest(name, known, most=_SLIP):
                raise wrong(
                    "unknown_field", f"{where}.{name[:MOST_LETTERS]}", f"Unknown field, did you mean {meant!r}?"
                )
            self._note(where, name[:MOST_LETTERS])

    def _note(self, where: str, name: str) -> None:
        if name in self._seen or len(self._seen) == MOST_REMEMBERED:
            return
        self._seen.add(name)
        last = "; no further names are logged" if len(self._seen) == MOST_REMEMBERED else ""
        logger.warning("a request has the unknown field %r in its %s, which has no effect%s", name, where, last)


def validated(kind: type[AnyModel], content: object, where: str) -> AnyModel:
    """Content as a model.

    Raises:
        RequestError: it is not one; the message names the fields.
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
    """
    return _refused([(kind, where, message)])


def _refused(problems: Sequence[tuple[str, str, str]]) -> RequestError:
    return RequestError(HTTPStatus.UNPROCESSABLE_ENTITY, field_errors(problems))
