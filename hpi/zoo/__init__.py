"""Models by name: which are known, where each is kept, and where it is downloaded from."""

from hpi.zoo.configs import Accuracy, Bundled, Export, HuggingFace, ModelConfig, Url
from hpi.zoo.zoo import Zoo, suggestion, why_not_fetched

__all__ = ["Accuracy", "Bundled", "Export", "HuggingFace", "ModelConfig", "Url", "Zoo", "suggestion", "why_not_fetched"]
