"""Every runtime beside every other: ``hpi compare``."""
