"""Questions, images' features, and the datasets they come in."""

from .base import VQADataModule
from .clevr import CLEVRDataModule
from .collate import VQADataset, collate
from .factory import build_datamodule
from .features import FeatureStore, GridFeatures, ObjectStates
from .loaders import ShardSampler, VQALoader
from .mini import CLEVRMiniDataModule
from .question_cache import QuestionCache
from .question_writer import write_packed
from .questions import PackedQuestions, Question, QuestionRecord
from .scene_states import pack_scene_states
from .vocabulary import Vocabulary, VocabularyBuilder, read_reference_dictionary, tokenize

__all__ = [
    "CLEVRDataModule",
    "CLEVRMiniDataModule",
    "FeatureStore",
    "GridFeatures",
    "ObjectStates",
    "PackedQuestions",
    "Question",
    "QuestionCache",
    "QuestionRecord",
    "ShardSampler",
    "VQADataModule",
    "VQADataset",
    "VQALoader",
    "Vocabulary",
    "VocabularyBuilder",
    "build_datamodule",
    "collate",
    "pack_scene_states",
    "read_reference_dictionary",
    "tokenize",
    "write_packed",
]
