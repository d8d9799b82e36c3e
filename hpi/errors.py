"""The project's exceptions. Every message says what happened, where, and what to do."""


class HpiError(Exception):
    """Base of everything this package raises on purpose.

    Example:
        >>> from hpi.skeletons import load_skeleton
        >>> try:
        ...     load_skeleton("coco18")
        ... except HpiError as error:
        ...     print(str(error).partition("?")[0])
        unknown skeleton 'coco18'; did you mean 'coco17'
    """


class InputError(HpiError, ValueError):
    """An image, a box, a threshold or another argument of a prediction cannot be used.

    Example:
        >>> from hpi.options import check_score
        >>> check_score("threshold", 2)
        Traceback (most recent call last):
        hpi.errors.InputError: threshold is 2: give a number from 0 to 1, or None for the default
        >>> issubclass(InputError, ValueError)
        True
    """


class ModelError(HpiError):
    """A model cannot be found, fetched, read or understood.

    Example:
        >>> from pathlib import Path
        >>> from hpi.models.readers import read_model
        >>> read_model(Path("examples/basketball.png"))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        hpi.errors.ModelError: examples/basketball.png: it is a file; give the folder that holds inference.yml ...
    """


class BackendError(HpiError):
    """A runtime is missing, cannot run the model here, or failed while running it.

    Example:
        >>> from hpi import Predictor
        >>> try:
        ...     Predictor("human_keypoint_detection_lite", device="gpu:99")
        ... except BackendError as error:
        ...     "gpu:99" in str(error)
        True
    """


class ConfigError(HpiError, ValueError):
    """A configuration file or a constructor argument is wrong.

    Example:
        >>> from hpi.options import read_devices
        >>> read_devices("gpu:0,0")
        Traceback (most recent call last):
        hpi.errors.ConfigError: device 'gpu:0,0': it names a device twice
    """


class InputNotFoundError(InputError, FileNotFoundError):
    """An input names a file or folder that does not exist.

    Example:
        >>> from hpi.sources.files import load_file
        >>> try:
        ...     load_file("missing.jpg")
        ... except FileNotFoundError as error:
        ...     print(type(error).__name__)
        InputNotFoundError
    """


class ModelNotFoundError(ModelError, FileNotFoundError):
    """A model folder, or a file in it, does not exist.

    Example:
        >>> from pathlib import Path
        >>> from hpi.models.readers import read_model
        >>> read_model(Path("models/missing"))
        Traceback (most recent call last):
        hpi.errors.ModelNotFoundError: models/missing: no such model folder
    """


class ConfigNotFoundError(ConfigError, FileNotFoundError):
    """A configuration file does not exist.

    Example:
        >>> from hpi.skeletons import load_skeleton
        >>> try:
        ...     load_skeleton("missing.yaml")
        ... except FileNotFoundError as error:
        ...     print(type(error).__name__)
        ConfigNotFoundError
    """


def not_found(kind: type[HpiError]) -> type[HpiError]:
    """The error for a missing file among those of a kind; that kind itself where it has none.

    >>> not_found(InputError).__name__
    'InputNotFoundError'
    """
    return next((one for one in kind.__subclasses__() if issubclass(one, FileNotFoundError)), kind)
