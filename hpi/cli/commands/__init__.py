"""The commands and their options, one module per group. The code that does the work is imported when a command runs."""
