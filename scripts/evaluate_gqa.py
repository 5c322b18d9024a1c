"""Score predictions for GQA with the metrics of its official script.

`python scripts/evaluate_gqa.py --root R --split val_all --predictions P.json --output M.json`

Predictions are a JSON array of {"questionId", "prediction"}, or the .jsonl of `mode=predict`;
attentions one of {"questionId", "attention"}. R holds questions/{split}_questions.json or a folder
of that name with shards, and, for the metrics that need them, questions/{val,testdev}_choices.json
and sceneGraphs/{train,val}_sceneGraphs.json. The split may be any part of the official ones, under
any name: which of them its questions are from is found by their ids, or the files are named with
--questions, --choices, --scenes and --all-questions. A metric whose file is missing is left out of
M.json, and a line says why; a file that lacks a balanced question or its image is an error.
"""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from dact.datamodules.gqa_files import shards
from dact.errors import UserError
from dact.gqa_metrics import (
    Given,
    GQAQuestions,
    evaluate,
    groups_table,
    load_questions,
    read_attentions,
    read_predictions,
    scores_table,
    write_evaluation,
)
from dact.one_line import one_line_errors


def main() -> None:
    """Read the command line, evaluate, write, show."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="folder of GQA")
    parser.add_argument(
        "--split", help="val_all, testdev_balanced and so on; may be left out with --questions"
    )
    parser.add_argument("--questions", type=Path, help="to be scored, if not those of --split")
    parser.add_argument("--choices", type=Path, help="JSON with valid and plausible answers")
    parser.add_argument("--scenes", type=Path, help="JSON with scene graphs, for grounding")
    parser.add_argument("--all-questions", type=Path, help="JSON with the entailed questions")
    parser.add_argument("--predictions", type=Path, required=True, help=".json or .jsonl")
    parser.add_argument("--attentions", type=Path, help="JSON, for grounding")
    parser.add_argument("--output", type=Path, required=True, help="JSON to be written")
    arguments = parser.parse_args()
    for path in filter(None, (arguments.predictions, arguments.attentions)):
        if not path.is_file():
            raise UserError(f"{path}: no such file")
    if arguments.output.is_dir():
        raise UserError(f"{arguments.output} cannot be written: it is a folder")
    answers, steps = read_predictions(arguments.predictions, progress=True)
    questions = load(arguments)
    attentions = arguments.attentions and read_attentions(arguments.attentions, progress=True)
    given = Given(arguments.choices, arguments.scenes, arguments.all_questions)
    evaluation = evaluate(questions, answers, attentions, steps, progress=True, given=given)
    write_evaluation(evaluation, arguments.output)
    console = Console()
    console.print(groups_table(evaluation))
    title = f"{questions.split}: {len(questions.balanced):,} questions"
    console.print(scores_table(evaluation, title))
    for note in evaluation.notes:
        print(f"note: {note}")
    print(arguments.output)


def load(arguments: argparse.Namespace) -> GQAQuestions:
    """The questions that are scored.

    Raises:
        UserError: nobody says which, or a file is missing or broken.
    """
    path, split = arguments.questions, arguments.split
    if path is None and split is None:
        raise UserError("which questions? give --split, or --questions FILE")
    files = None
    if path is not None:
        files = shards(path)
        if not files:
            raise UserError(f"--questions {path}: no such file, nor a folder with shards")
        split = split or path.stem.removesuffix("_questions")
    return load_questions(arguments.root, split, progress=True, files=files)


if __name__ == "__main__":
    sys.exit(one_line_errors(main))
