"""Models by name: which are known, where each is kept, and where it is downloaded from."""

from hpi.zoo.configs import Accuracy, Bundled, Export, HuggingFace, ModelConfig, Url
from hpi.zoo.zoo import Zoo, meant, why_not_fetched

__all__ = ["Accuracy", "Bundled", "Export", "HuggingFace", "ModelConfig", "Url", "Zoo", "meant", "why_not_fetched"]
