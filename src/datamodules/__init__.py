"""Questions, images' features, and the datasets they come in.

Names are loaded on first use: the processes that generate `clevr_mini` need no PyTorch.
"""

import importlib
from typing import Any

_HOME = {
    "CLEVRCoGenTDataModule": "clevr_family",
    "CLEVRDataModule": "clevr",
    "CLEVRHumansDataModule": "clevr_family",
    "CLEVRMiniDataModule": "mini",
    "FeatureStore": "features",
    "GQADataModule": "gqa",
    "GQAObjects": "gqa_features",
    "GQASpatial": "gqa_features",
    "GridFeatures": "features",
    "ImageIndex": "gqa_index",
    "ObjectStates": "features",
    "PackedQuestions": "questions",
    "Question": "questions",
    "QuestionCache": "question_cache",
    "QuestionRecord": "questions",
    "RaggedObjects": "gqa_ragged",
    "ShardSampler": "loaders",
    "TokenFeatures": "features",
    "VQADataModule": "base",
    "VQADataset": "collate",
    "VQALoader": "loaders",
    "Vocabulary": "vocabulary",
    "VocabularyBuilder": "vocabulary",
    "build_datamodule": "factory",
    "pack_scene_states": "scene_states",
    "read_reference_dictionary": "vocabulary",
    "tokenize": "tokenizers",
    "write_image_index": "gqa_index",
    "write_packed": "question_writer",
    "write_ragged_objects": "gqa_ragged",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    """Load the module that a public name lives in (PEP 562)."""
    if name in _HOME:
        return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
