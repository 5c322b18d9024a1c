"""GQA's own files and metrics, beside ours."""

from pathlib import Path

from rich.console import Console

from dact import checks
from dact.datamodules import GQADataModule, VQADataModule
from dact.datamodules.gqa_features import NO_BOXES
from dact.errors import UserError
from dact.gqa_metrics import (
    evaluate,
    groups_table,
    load_questions,
    read_attentions,
    read_predictions,
    scores_table,
    write_evaluation,
)
from dact.ordered_lines import OrderedLines
from dact.predictions import AttentionWriter, PredictionWriter, SubmissionWriter
from dact.schema import Config

from .parts import say

PREDICTIONS = "predictions.jsonl"


def predictions_path(config: Config, folder: Path) -> Path:
    """Where predictions are written."""
    return Path(config.predictions).expanduser() if config.predictions else folder / PREDICTIONS


def writers(config: Config, folder: Path, data: VQADataModule, split: str) -> list[OrderedLines]:
    """What writes predictions and, for GQA, the submission and attentions if they are asked for."""
    path = predictions_path(config, folder)
    answers = data.vocabulary.answer_names

    def records(positions: list[int]) -> list:
        return data.records(split, positions)

    found: list[OrderedLines] = [PredictionWriter(path, records, answers)]
    if isinstance(data, GQADataModule):
        if config.mode == "predict":
            found.append(SubmissionWriter(path.with_name("submission.json"), records, answers))
        if attentions := attentions_path(config, folder, data, split):
            found.append(AttentionWriter(attentions, records, data.attention_layout(split)))
    names = [writer.path.resolve() for writer in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"{twice} would be written twice: change predictions= or attentions=")
    return found


def attentions_path(config: Config, folder: Path, data: GQADataModule, split: str) -> Path | None:
    """Where attentions are written; None if nobody asked and no metric needs them.

    A validation needs them where there are scene graphs; those of an unbalanced split are so large
    that they have to be asked for.
    """
    if config.attentions:
        return Path(config.attentions).expanduser()
    needed = config.mode == "validate" and data.has_scenes(split) and split.endswith("_balanced")
    needed = needed and data.has_boxes(split)
    return folder / "attentions.json" if needed else None


def report(config: Config, folder: Path, data: GQADataModule, split: str) -> None:
    """Print GQA's official metrics of a validation and write them to `official.json`."""
    if checks.is_limited(config.trainer):
        say("the official metrics need the whole split: leave out trainer.limit_val_batches")
        return
    dataset = data.dataset(split)
    if left_out := len(dataset.questions) - len(dataset):
        say(f"the official metrics need the whole split: {left_out:,} questions are left out")
        return
    questions = load_questions(data.root, split, progress=True)
    path = predictions_path(config, folder)
    attentions = attentions_path(config, folder, data, split)
    answers, steps = read_predictions(path, progress=True)
    attentions = attentions and read_attentions(attentions, progress=True)
    evaluation = evaluate(questions, answers, attentions, steps, progress=True)
    write_evaluation(evaluation, folder / "official.json")
    console = Console()
    console.print(groups_table(evaluation))
    title = f"official, {split}: {len(questions.balanced):,} balanced questions"
    console.print(scores_table(evaluation, title))
    for note in evaluation.notes:
        if note.startswith("grounding") and not data.has_boxes(split):
            note = f"grounding is left out: {NO_BOXES}"
        say(f"note: {note}")
    say(f"the official metrics are in {folder / 'official.json'}")
