"""The project's exceptions. Every message says what happened, where, and what to do."""


class HpiError(Exception):
    """Base of everything this package raises on purpose."""


class InputError(HpiError):
    """An image, a box, a threshold or another argument of a prediction cannot be used."""


class ModelError(HpiError):
    """A model cannot be found, fetched, read or understood."""


class BackendError(HpiError):
    """A runtime is missing, cannot run the model here, or failed while running it."""


class ConfigError(HpiError):
    """A configuration file or a constructor argument is wrong."""
