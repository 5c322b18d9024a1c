"""A small GQA made on the spot: scene graphs, questions, programs and features, no download.

Needs no torch, so that worker processes start at once.
"""

from dact.datamodules.gqa_mini.generation import generate
from dact.datamodules.gqa_mini.world import CATEGORIES, VALUES

__all__ = ["CATEGORIES", "VALUES", "generate"]
