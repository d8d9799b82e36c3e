"""PaddleDetection's deployment scripts: their flags, and the files that they write."""
