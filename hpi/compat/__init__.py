"""The interfaces of other projects, each in a folder of its own."""
