"""Who of one list is who of another: the assignment problem, solved by SciPy."""

from __future__ import annotations

from hpi.errors import ConfigError
from hpi.kernels.grouping import Assign


def load_assign(purpose: str, extra: str) -> Assign:
    """SciPy's solver, which is imported here.

    Args:
        purpose: what it is needed for, for the error.
        extra: that of the package which installs SciPy for it.

    Raises:
        ConfigError: SciPy is not installed.

    Example:
        >>> import numpy as np
        >>> rows, columns = load_assign("to group keypoints", "cpu")(np.array([[0.0, -1.0], [-1.0, 0.0]]))
        >>> rows, columns
        (array([0, 1]), array([1, 0]))
    """
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError as error:
        install = f'pip install "hpi-pose[{extra}]"'
        raise ConfigError(f"{purpose}, SciPy is needed ({error}); install it with: {install}") from error
    solve: Assign = linear_sum_assignment
    return solve
