"""Names that are still understood but will be removed: which, since when, until when, and what to use instead.

This module imports nothing of the package, so that ``deploy/release.py`` can read the table by itself.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple


class Deprecation(NamedTuple):
    """What became of a name.

    Attributes:
        advice: what to do instead.
        since: the first version that warns.
        removed_in: the first version without the name, at least two minor versions later.
    """

    advice: str
    since: str
    removed_in: str


DEPRECATED = {
    "Predictor.detector": Deprecation("use pipelines[0].models", "0.2.0", "0.4.0"),
    "Predictor.estimator": Deprecation("use pipelines[0].models", "0.2.0", "0.4.0"),
    "Predictor.tune(told=)": Deprecation("use on_progress=", "0.2.0", "0.4.0"),
    "KeypointResult.joint_names": Deprecation("use keypoint_names", "0.2.0", "0.4.0"),
    "hpi.results.KeypointResult": Deprecation("import KeypointResult from hpi", "0.2.0", "0.4.0"),
    "hpi.results.DetectionResult": Deprecation("import DetectionResult from hpi", "0.2.0", "0.4.0"),
}


def warn_deprecated(name: str, stacklevel: int = 3) -> None:
    """Warn whoever uses a deprecated name.

    Args:
        name: a key of :data:`DEPRECATED`.
        stacklevel: as of :func:`warnings.warn`; by default the caller of the function that calls this one.

    Example:
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     warn_deprecated("Predictor.tune(told=)")
        >>> print(caught[0].message)
        Predictor.tune(told=) is deprecated and will be removed in 0.4.0: use on_progress=
    """
    advice, _, removed_in = DEPRECATED[name]
    message = f"{name} is deprecated and will be removed in {removed_in}: {advice}"
    warnings.warn(message, DeprecationWarning, stacklevel=stacklevel)
