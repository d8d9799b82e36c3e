"""One file per task: preprocessing, session and postprocessing of one model. No task knows its runtime."""
