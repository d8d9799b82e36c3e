"""Choosing the runtime for a model on this machine: candidates, measured priors, the parity gate, and the reasons."""

from hpi.options import AUTO
from hpi.selection.choice import Choice, choose
from hpi.selection.ranking import Ranked

__all__ = ["AUTO", "Choice", "Ranked", "choose"]
