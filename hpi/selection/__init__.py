"""Which runtime serves a model on this machine: candidates, measured priors, a parity gate, and the reasons."""

from hpi.selection.choice import AUTO, Choice, Ranked, choose

__all__ = ["AUTO", "Choice", "Ranked", "choose"]
