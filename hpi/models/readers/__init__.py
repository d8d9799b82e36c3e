"""Readers: the description of a model folder becomes a :class:`hpi.models.spec.ModelSpec`; one file a format."""
