"""The commands with their options, one module a group; what does the work is imported when a command runs."""
