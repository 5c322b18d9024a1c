"""A small CLEVR made on the spot: scenes, questions, programs and drawings, without Blender.

Needs no torch, so that worker processes start at once.
"""

from dact.datamodules.clevr_mini import depth
from dact.datamodules.clevr_mini.drawing import draw
from dact.datamodules.clevr_mini.execution import execute
from dact.datamodules.clevr_mini.families import FAMILIES, MIX
from dact.datamodules.clevr_mini.generation import generate

__all__ = ["FAMILIES", "MIX", "depth", "draw", "execute", "generate"]
