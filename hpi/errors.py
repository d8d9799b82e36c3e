"""The project's exceptions. Every message says what happened, where, and what to do."""


class HpiError(Exception):
    """Base of everything this package raises on purpose."""


class InputError(HpiError, ValueError):
    """An image, a box, a threshold or another argument of a prediction cannot be used."""


class ModelError(HpiError):
    """A model cannot be found, fetched, read or understood."""


class BackendError(HpiError):
    """A runtime is missing, cannot run the model here, or failed while running it."""


class ConfigError(HpiError, ValueError):
    """A configuration file or a constructor argument is wrong."""


class InputNotFoundError(InputError, FileNotFoundError):
    """An input names a file or folder that does not exist."""


class ModelNotFoundError(ModelError, FileNotFoundError):
    """A model folder, or a file in it, does not exist."""


class ConfigNotFoundError(ConfigError, FileNotFoundError):
    """A configuration file does not exist."""


def not_found(kind: type[HpiError]) -> type[HpiError]:
    """The error for a missing file among those of a kind; that kind itself where it has none.

    >>> not_found(InputError).__name__
    'InputNotFoundError'
    """
    return next((one for one in kind.__subclasses__() if issubclass(one, FileNotFoundError)), kind)
