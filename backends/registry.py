"""Runtimes by name: those of this package, and those that other packages add through entry points."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterable, Iterator, MutableMapping
from importlib.metadata import EntryPoint, entry_points

from hpi.backends.base import Backend
from hpi.errors import BackendError

logger = logging.getLogger(__name__)

GROUP = "hpi.backends"
"""The group of entry points: each is the name of a runtime and its :class:`Backend` class."""

_NAME = re.compile(r"(?!auto$)[a-z][a-z0-9_]*")


class Registry(MutableMapping[str, Backend]):
    """Runtimes by name: the built-in ones first, then those of entry points, by name.

    Entry points are read when the first name that is not built in is looked up, or all names are listed. One that
    cannot be used is skipped with a warning.

    Example:
        >>> from hpi.backends.onnxruntime import OnnxRuntime
        >>> runtimes = Registry([OnnxRuntime()])
        >>> runtimes["onnxruntime"].package, "nosuch" in runtimes
        ('onnxruntime', False)
    """

    def __init__(self, built_in: Iterable[Backend]) -> None:
        self._backends = {backend.name: backend for backend in built_in}
        self._lock = threading.Lock()
        self._is_complete = False

    def __getitem__(self, name: str) -> Backend:
        if name not in self._backends:
            self._complete()
        return self._backends[name]

    def __setitem__(self, name: str, backend: Backend) -> None:
        self._complete()
        self._backends[name] = backend

    def __delitem__(self, name: str) -> None:
        self._complete()
        del self._backends[name]

    def __iter__(self) -> Iterator[str]:
        self._complete()
        return iter(self._backends)

    def __len__(self) -> int:
        self._complete()
        return len(self._backends)

    def _complete(self) -> None:
        with self._lock:
            if self._is_complete:
                return
            for entry in sorted(entry_points(group=GROUP)):
                try:
                    self._backends[entry.name] = self._load(entry)
                except (Exception, SystemExit) as error:  # noqa: BLE001 - other people's code must not stop this
                    package = entry.dist.name if entry.dist else "an unknown package"
                    logger.warning("skipping the runtime %r of %s (%s): %s", entry.name, package, entry.value, error)
            self._is_complete = True

    def _load(self, entry: EntryPoint) -> Backend:
        """The runtime of an entry point; any exception rules it out."""
        if entry.name in self._backends:
            raise BackendError("there already is a runtime of this name")
        if not _NAME.fullmatch(entry.name):
            raise BackendError("a name consists of lowercase letters, digits and underscores, and is not 'auto'")
        backend = entry.load()()
        if not isinstance(backend, Backend):
            raise BackendError("it is not a subclass of hpi.backends.base.Backend")
        for attribute in ("name", "package", "install"):
            if not isinstance(getattr(backend, attribute, None), str):
                raise BackendError(f"its class attribute {attribute!r} must be a string")
        if backend.name != entry.name:
            raise BackendError(f"it calls itself {backend.name!r}; both names must be the same")
        return backend
