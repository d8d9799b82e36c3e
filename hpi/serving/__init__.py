"""The pipeline behind HTTP: PaddleX's interface, with dynamic batching, limits, metrics and a page."""
