"""Pipelines: frames in, :class:`hpi.instances.Instances` out; what the service, the evaluation and benchmarks see."""
