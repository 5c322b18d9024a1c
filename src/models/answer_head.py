"""From memory and question to answer logits."""

import torch
from torch import Tensor, nn


class AnswerHead(nn.Module):
    """y_n = W_b drop(ELU(W_a drop([m_n ; W_q q]))) (MAC, section 3.3).

    As in the released code W_q and the biases of W_a and W_b keep PyTorch's initialisation.

    Args:
        dim: D.
        num_answers: A.
        dropout: rate before each layer.
    """

    def __init__(self, dim: int, num_answers: int, dropout: float = 0.15):
        super().__init__()
        self.question = nn.Linear(dim, dim)
        self.hidden = nn.Linear(2 * dim, dim)
        self.output = nn.Linear(dim, num_answers)
        nn.init.xavier_uniform_(self.hidden.weight)
        nn.init.xavier_uniform_(self.output.weight)
        self.dropout = nn.Dropout(dropout)

    def forward(self, memory: Tensor, question: Tensor) -> Tensor:
        """(B, D) memory and (B, D) projected question, `self.question(q)` -> (B, A) logits."""
        hidden = self.hidden(self.dropout(torch.cat([memory, question], dim=-1)))
        return self.output(self.dropout(nn.functional.elu(hidden)))
