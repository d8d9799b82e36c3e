"""Shared helpers: atomic file writes, fetching, archives, validated YAML."""
