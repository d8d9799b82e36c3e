"""What all classes of this room have in common: each owns models, and is closed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Any


class OwnsModels(ABC):
    """Owns models: close it, or use it in a ``with`` statement."""

    @abstractmethod
    def close(self) -> None:
        """Unload the models. Closing twice is harmless."""

    def __enter__(self) -> Any:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
