"""Score predictions for GQA with the metrics of its official script.

`python scripts/evaluate_gqa.py --root R --split val_all --predictions P.json --output M.json`

Predictions are a JSON array of {"questionId", "prediction"}, or the .jsonl of `mode=predict`;
attentions one of {"questionId", "attention"}. R holds questions/{split}_questions.json or a folder
of that name with shards, and, for the metrics that need them, questions/{val,testdev}_choices.json
and sceneGraphs/{train,val}_sceneGraphs.json. A metric whose file is missing is left out of M.json,
and a line says why; a file that lacks a balanced question or its image is an error.
"""

import argparse
import sys
from pathlib import Path

from rich.console import Console

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
from dact.one_line import one_line_errors


def main() -> None:
    """Read the command line, evaluate, write, show."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="folder of GQA")
    parser.add_argument("--split", required=True, help="val_all, testdev_balanced and so on")
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
    questions = load_questions(arguments.root, arguments.split, progress=True)
    attentions = arguments.attentions and read_attentions(arguments.attentions, progress=True)
    evaluation = evaluate(questions, answers, attentions, steps, progress=True)
    write_evaluation(evaluation, arguments.output)
    console = Console()
    console.print(groups_table(evaluation))
    console.print(
        scores_table(evaluation, f"{arguments.split}: {len(questions.balanced):,} questions")
    )
    for note in evaluation.notes:
        print(f"note: {note}")
    print(arguments.output)


if __name__ == "__main__":
    sys.exit(one_line_errors(main))
