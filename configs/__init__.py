"""Data, no code: models, pipelines, skeletons, and the archives that come with the package."""
