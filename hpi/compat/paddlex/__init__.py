"""PaddleX's interface: its functions, its YAML, its command line."""
