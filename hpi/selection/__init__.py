"""Which runtime serves a model on this machine: candidates, measured priors, a parity gate, and the reasons."""

from hpi.options import AUTO
from hpi.selection.choice import Choice, Ranked, choose

__all__ = ["AUTO", "Choice", "Ranked", "choose"]
