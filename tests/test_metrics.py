"""Accuracy and steps, against plain Python loops."""

import pytest
import torch

from dact.batch import NO_ANSWER, VQABatch
from dact.metrics import MAX_PROGRAM_LENGTH, MAX_READS, AnswerMetrics
from dact.models import VQAOutput

TYPES = ["count", "exist", "never asked", "compare"]
SIZE, STEPS = 61, 12


def questions(seed=0):
    """Every tenth question has no answer, every eighth no program; type 2 never occurs."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*values):
        return torch.tensor(values)[torch.randint(len(values), (SIZE,), generator=generator)]

    answers, lengths = draw(0, 1, 2, 3, 4), draw(2, 7, 20, MAX_PROGRAM_LENGTH, 55, 999)
    answers[::10] = NO_ANSWER
    lengths[::8] = -1
    reads = draw(1, 2, 3, MAX_READS, 99)
    reads[::7] = -1
    unused = torch.zeros(SIZE, dtype=torch.int64)
    batch = VQABatch(
        tokens=unused,
        lengths=unused,
        features=unused,
        num_cells=unused,
        image_index=unused,
        answers=answers,
        question_types=draw(0, 1, 3),
        program_lengths=lengths,
        reads_needed=reads,
        positions=torch.arange(SIZE),
    )
    log_probs = torch.randn(SIZE, 5, generator=generator).log_softmax(-1)
    steps = torch.randint(1, STEPS + 1, (SIZE,), generator=generator)
    return batch, VQAOutput(log_probs, torch.zeros(SIZE), steps)


def plain_loop(batch, output):
    """Group name -> (right, steps, questions)."""
    sums = {}
    for row in range(SIZE):
        groups = ["all", TYPES[batch.question_types[row]]]
        length = batch.program_lengths[row].item()
        if length >= 0:
            groups.append(f"length_{min(length, MAX_PROGRAM_LENGTH):02d}")
        needed = batch.reads_needed[row].item()
        if needed >= 0:
            groups.append(f"reads_{min(needed, MAX_READS):02d}")
        scores = output.log_probs[row].tolist()
        right = scores.index(max(scores)) == batch.answers[row].item()
        for group in groups:
            old = sums.get(group, (0, 0, 0))
            sums[group] = (old[0] + right, old[1] + output.steps[row].item(), old[2] + 1)
    return sums


def measured(metrics, batch, output, sizes):
    parts = [[None] * len(sizes) if v is None else v.split(sizes) for v in (*batch, *output)]
    for columns in zip(*parts, strict=True):
        metrics.update(VQABatch(*columns[: len(batch)]), VQAOutput(*columns[len(batch) :]))
    return metrics.compute()


@pytest.mark.parametrize("sizes", [[SIZE], [1] * SIZE, [16, 16, 16, 13], [60, 1]], ids=len)
def test_metrics_equal_a_plain_loop_however_batched(sizes):
    batch, output = questions()
    got, steps_taken = measured(AnswerMetrics(TYPES, STEPS), batch, output, sizes)
    wanted = plain_loop(batch, output)
    assert set(got) == set(wanted)
    assert "never asked" not in got
    assert {"length_02", "length_07", "length_20", "length_40"} < set(got)
    assert {"reads_01", "reads_02", "reads_03", "reads_20"} < set(got)
    for group, (right, steps, count) in wanted.items():
        assert got[group] == pytest.approx((right / count, steps / count, count), abs=1e-15)
    assert steps_taken == [output.steps.tolist().count(step) for step in range(1, STEPS + 1)]


def test_steps_that_nobody_takes_are_counted_as_none():
    batch, output = questions()
    output = output._replace(steps=output.steps.clamp(2, 4))
    counts = measured(AnswerMetrics(TYPES, STEPS), batch, output, [16, 16, 16, 13]).steps_taken
    assert len(counts) == STEPS
    assert [step for step, count in enumerate(counts, 1) if count] == [2, 3, 4]
    assert sum(counts) == SIZE


def test_questions_without_an_answer_are_wrong():
    batch, output = questions()
    got = measured(
        AnswerMetrics(TYPES, STEPS), batch._replace(answers=batch.answers * 0 - 1), output, [SIZE]
    ).groups
    assert got["all"].accuracy == 0
    assert got["all"].questions == SIZE


def test_reset_forgets():
    metrics = AnswerMetrics(TYPES, STEPS)
    first = measured(metrics, *questions(1), [SIZE])
    metrics.reset()
    second = measured(metrics, *questions(2), [SIZE])
    assert second == measured(AnswerMetrics(TYPES, STEPS), *questions(2), [SIZE])
    assert second != first


def test_sums_are_exact_over_many_batches():
    """In float32 16,777,217 questions would count as 16,777,216."""
    metrics = AnswerMetrics(TYPES, STEPS)
    metrics.types[0] = torch.tensor([2.0**24, 2.0**24, 2.0**24])
    batch, output = questions()
    metrics.steps_taken[0] = 2**24
    got = measured(metrics, batch, output, [SIZE])
    assert got.groups["all"].questions == 2**24 + SIZE
    assert sum(got.steps_taken) == 2**24 + SIZE
