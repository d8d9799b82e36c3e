"""Which runtime serves a model."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from hpi.backends import BACKENDS
from hpi.backends.base import ModelFiles, Session, SessionOptions
from hpi.errors import BackendError, ConfigError

logger = logging.getLogger(__name__)

AUTO = "auto"


@dataclass(frozen=True)
class Choice:
    """A loaded model and why it runs where it does.

    Attributes:
        session: the loaded model.
        reason: why this runtime.
        rejected: runtimes that were preferred but could not serve, each with the reason.
    """

    session: Session
    reason: str
    rejected: dict[str, str]


def open_session(files: ModelFiles, options: SessionOptions, backend: str = AUTO) -> Choice:
    """Load a model on the named runtime, or with ``"auto"`` on the first in the order of the registry that can.

    Raises:
        ConfigError: no runtime has that name.
        BackendError: the named runtime cannot serve the model, or none can; the message has every reason.
    """
    if backend != AUTO:
        return Choice(_open_named(files, options, backend), "asked for", {})
    rejected: dict[str, str] = {}
    for name, candidate in BACKENDS.items():
        reason = candidate.unavailable(files, options)
        if reason is None:
            try:
                session = candidate.load(files, options)
            except BackendError as error:
                logger.warning("%s: %s is passed over: %s", files.name, name, error)
                reason = str(error)
            else:
                return Choice(session, f"first that can run it in the order {', '.join(BACKENDS)}", rejected)
        rejected[name] = reason
    reasons = "; ".join(f"{name}: {reason}" for name, reason in rejected.items())
    raise BackendError(f"{files.name}: no runtime can serve it on {options.device}: {reasons}")


def _open_named(files: ModelFiles, options: SessionOptions, name: str) -> Session:
    if name not in BACKENDS:
        raise ConfigError(f"unknown backend {name!r}; known are {AUTO}, {', '.join(BACKENDS)}")
    if reason := BACKENDS[name].unavailable(files, options):
        raise BackendError(f"{files.name}: {name}: {reason}")
    return BACKENDS[name].load(files, options)
