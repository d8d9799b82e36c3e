"""What many parts need and none owns: files written whole, fetching, archives, checked YAML."""
