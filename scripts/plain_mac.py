"""MAC and DACT as they are commonly written, to measure ours against (`benchmark.py`).

The stem runs for every question, every projection is computed at every step and for everyone, and
a batch runs until its last example halts. Weights, answers and training loss are those of
`MACNetwork`; nothing is masked that need not be, nothing is shared.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import elu
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from dact.batch import VQABatch
from dact.models import MACNetwork
from dact.options import NetworkOptions


class PlainMAC(nn.Module):
    """A plain twin of a grid MAC or DACT with unit penalty; it halts by the paper's bound.

    Args:
        network: whose weights are copied.
        options: of that network.
    """

    def __init__(self, network: MACNetwork, options: NetworkOptions) -> None:
        super().__init__()
        self.options = options
        dim, words = options.dim, network.encoder.embedding
        self.embedding = nn.Embedding(*words.weight.shape)
        self.lstm = nn.LSTM(words.embedding_dim, dim // 2, batch_first=True, bidirectional=True)
        channels, size = network.stem.conv1.weight.shape[1:3]
        self.conv1 = nn.Conv2d(channels, dim, size, padding=size // 2)
        self.conv2 = nn.Conv2d(dim, dim, size, padding=size // 2)
        self.shared = nn.Linear(dim, dim)
        self.positions = nn.ModuleList(nn.Linear(dim, dim) for _ in range(options.max_steps))
        self.control = nn.Linear(2 * dim, dim)
        self.word_score = nn.Linear(dim, 1)
        self.memory = nn.Linear(dim, dim)
        self.knowledge = nn.Linear(dim, dim)
        self.read1 = nn.Linear(2 * dim, dim)
        self.read2 = nn.Linear(dim, dim)
        self.read_score = nn.Linear(dim, 1)
        self.write = nn.Linear(2 * dim, dim)
        self.initial_memory = nn.Parameter(torch.zeros(dim))
        self.question = nn.Linear(dim, dim)
        self.hidden = nn.Linear(2 * dim, dim)
        self.output = nn.Linear(dim, network.head.output.out_features)
        self.halting = nn.Linear(dim, 1) if options.name == "dact" else None
        self._copy(network)

    def _copy(self, network: MACNetwork) -> None:
        cell, head = network.cell, network.head
        pairs = [
            (self.embedding, network.encoder.embedding),
            (self.conv1, network.stem.conv1),
            (self.conv2, network.stem.conv2),
            (self.shared, cell.control.question),
            (self.positions, cell.control.positions),
            (self.control, cell.control.combine),
            (self.word_score, cell.control.attention.score),
            (self.memory, cell.read.memory),
            (self.knowledge, cell.read.knowledge),
            (self.read1, cell.read.combine),
            (self.read2, cell.read.interact),
            (self.read_score, cell.read.score),
            (self.write, cell.write.combine),
            (self.question, head.question),
            (self.hidden, head.hidden),
            (self.output, head.output),
        ]
        if self.halting is not None:
            pairs.append((self.halting, network.gate.linears[0]))
        for own, theirs in pairs:
            own.load_state_dict(theirs.state_dict())
        directions = {"": network.encoder.forward_lstm, "_reverse": network.encoder.backward_lstm}
        self.lstm.load_state_dict(
            {
                f"{k}{end}": v
                for end, lstm in directions.items()
                for k, v in lstm.state_dict().items()
            }
        )
        self.initial_memory.data.copy_(cell.initial_memory)

    def _drop(self, tensor: Tensor, rate: float) -> Tensor:
        return nn.functional.dropout(tensor, rate, self.training)

    def forward(self, batch: VQABatch) -> tuple[Tensor, Tensor, Tensor]:
        """(B, A) log-probabilities, (B,) ponder cost and (B,) steps."""
        rates, count = self.options.dropout, self.options.max_steps
        words, mask, question = self._encode_question(batch)
        cells = self._drop(batch.features[batch.image_index], rates.stem)
        cells = self._drop(elu(self.conv1(cells)), rates.stem)
        cells = elu(self.conv2(cells)).flatten(2).transpose(1, 2)
        control, memory = question, self.initial_memory.expand_as(question)
        kept = self._drop(torch.ones_like(memory), rates.memory)
        answer = still_open = cost = steps = running = None
        for n in range(count):
            control = self._control(control, question, words, mask, n)
            seen = memory * kept
            memory = self.write(torch.cat([self._read(seen, control, cells), memory], -1))
            logits = self._answer(memory, question)
            if self.halting is None:
                continue
            probs = logits.softmax(-1)
            if answer is None:
                answer, still_open = torch.zeros_like(probs), torch.ones_like(probs[:, 0])
                cost, running = torch.ones_like(still_open), torch.ones_like(still_open).bool()
                steps = torch.zeros_like(still_open)
            new = still_open[:, None] * probs + (1 - still_open[:, None]) * answer
            open_now = (
                1 - (self.halting(control).squeeze(-1) + self.options.gate.bias).sigmoid()
            ) * still_open
            steps = steps + running
            answer = torch.where(running[:, None], new, answer)
            still_open = torch.where(running, open_now, still_open)
            if not self.training:
                top = answer.topk(2).values
                left = count - n - 1
                running = running & ~(
                    top[:, 0] * (1 - still_open) ** left - top[:, 1] - left * still_open > 0
                )
                running = running & (left > 0)
            cost = torch.where(running, cost + still_open, cost)
            if not running.any():
                break
        if self.halting is None:
            zeros = torch.zeros_like(logits[:, 0])
            return logits.log_softmax(-1), zeros, zeros + count
        return answer.clamp(min=1e-8).log(), cost, steps

    def _encode_question(self, batch: VQABatch) -> tuple[Tensor, Tensor, Tensor]:
        packed = pack_padded_sequence(
            self.embedding(batch.tokens),
            batch.lengths.cpu(),
            batch_first=True,
            enforce_sorted=False,
        )
        packed, (last, _) = self.lstm(packed)
        words, _ = pad_packed_sequence(packed, batch_first=True)
        positions = torch.arange(words.shape[1], device=words.device)
        mask = positions < batch.lengths[:, None]
        question = self._drop(torch.cat([last[0], last[1]], -1), self.options.dropout.question)
        return words, mask, question

    def _control(
        self, control: Tensor, question: Tensor, words: Tensor, mask: Tensor, n: int
    ) -> Tensor:
        position = self.positions[n](self.shared(question).tanh())
        query = self.control(torch.cat([control, position], -1))
        logits = self.word_score(query[:, None] * words).squeeze(-1)
        weights = logits.masked_fill(~mask, -torch.inf).softmax(-1)
        return (weights[..., None] * words).sum(1)

    def _read(self, memory: Tensor, control: Tensor, cells: Tensor) -> Tensor:
        rate = self.options.dropout.read
        cells = self._drop(cells, rate)
        projected = self.knowledge(cells)
        product = self.memory(memory)[:, None] * projected
        interaction = self.read2(elu(self.read1(torch.cat([product, projected], -1))))
        interaction = self._drop(elu(interaction * control[:, None]), rate)
        weights = self.read_score(interaction).squeeze(-1).softmax(-1)
        return (weights[..., None] * cells).sum(1)

    def _answer(self, memory: Tensor, question: Tensor) -> Tensor:
        rate = self.options.dropout.output
        hidden = self.hidden(self._drop(torch.cat([memory, self.question(question)], -1), rate))
        return self.output(self._drop(elu(hidden), rate))
