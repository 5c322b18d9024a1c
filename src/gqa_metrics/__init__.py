"""The official metrics of GQA (Hudson & Manning, CVPR 2019), over any model's predictions.

Written from the definitions of the data set's `eval.py`, and equal to it in value. Every metric is
a pure function in a file of its own and needs no PyTorch; `evaluate` computes those whose files are
there.
"""

from .evaluation import Evaluation, evaluate
from .groups import GroupMean, mean_by_group
from .predictions import Predictions, read_attentions, read_predictions
from .questions import GQAQuestion, GQAQuestions, load_questions
from .report import groups_table, scores_table, write_evaluation
from .sources import Given

__all__ = [
    "Evaluation",
    "GQAQuestion",
    "GQAQuestions",
    "Given",
    "GroupMean",
    "Predictions",
    "evaluate",
    "groups_table",
    "load_questions",
    "mean_by_group",
    "read_attentions",
    "read_predictions",
    "scores_table",
    "write_evaluation",
]
