"""Ask a trained network a question about an image.

`python scripts/ask.py --checkpoint X.ckpt --image photo.png --question "How many cubes are there?"`
`python scripts/ask.py --checkpoint X.ckpt --scene scene.json --question "…"`   (state features)

`--image` also takes the name of an image of the checkpoint's own dataset.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from dact import config
from dact.console import silence_libraries
from dact.errors import UserError
from dact.explain import figures
from dact.explain.knowledge import (
    ImageReader,
    Knowledge,
    of_dataset,
    of_scene,
    options_of,
    read_scene,
)
from dact.explain.reasoning import Reasoner, Reasoning
from dact.one_line import one_line_errors
from dact.options import BackboneOptions
from dact.runs.restore import Restored, open_data, restore

CONF = Path(__file__).parents[1] / "conf"


def main() -> None:
    """Read the command line, look, ask, answer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, required=True)
    about = parser.add_mutually_exclusive_group(required=True)
    about.add_argument("--image", help="a picture, or the name of an image of the dataset")
    about.add_argument("--scene", type=Path, help="JSON in CLEVR's format, for state features")
    parser.add_argument("--index", type=int, help="which scene of a file with several")
    parser.add_argument("--question", required=True)
    parser.add_argument("--backbone", help="a file of conf/backbone, if the checkpoint names none")
    parser.add_argument("--weights", type=Path, help="of the backbone, if they have moved")
    parser.add_argument("--root", type=Path, help="folder of the dataset, if it has moved")
    parser.add_argument("--split", help="of the dataset; by default the one validated on")
    parser.add_argument("--tokenizer", help="the checkpoint's data.tokenizer, if it is a function")
    parser.add_argument("--figure", type=Path, help="PNG or SVG of every step, to be written")
    arguments = parser.parse_args()
    silence_libraries()
    restored = restore(arguments.checkpoint, arguments.tokenizer)
    vocabulary = restored.checked_vocabulary
    knowledge = look(restored, arguments)
    reasoner = Reasoner(restored.network, vocabulary)
    reasoning = reasoner.ask(arguments.question, knowledge.features, knowledge.num_cells)
    show(reasoning, reasoner)
    if arguments.figure:
        figures.save_as(figures.strip(reasoning, knowledge.view), arguments.figure)


def look(restored: Restored, arguments: argparse.Namespace) -> Knowledge:
    """What the question is about."""
    if arguments.scene:
        return of_scene(restored.description, read_scene(arguments.scene, arguments.index))
    path = Path(arguments.image).expanduser()
    if path.is_file():
        options = backbone_options(restored, arguments.backbone, arguments.weights)
        return ImageReader(restored.description, options).read(path)
    if path.suffix and path.parent != Path():
        raise UserError(f"--image {path}: no such file")
    data = open_data(restored, arguments.root, arguments.split)
    return of_dataset(data, data.splits_of("predict")[-1], arguments.image)


def backbone_options(
    restored: Restored, name: str | None, weights: Path | None
) -> BackboneOptions | None:
    """What the command line says of the backbone; None: nothing."""
    if name is None and weights is None:
        return None
    known = restored.description.backbone
    if name is None and known is None:
        raise UserError("--weights without --backbone: the checkpoint names no backbone")
    options = config.read_backbone(CONF, name) if name else options_of(known)
    return replace(options, weights=str(weights)) if weights else options


def show(reasoning: Reasoning, reasoner: Reasoner) -> None:
    """Print the answer and a line per step."""
    console = Console()
    if reasoning.unknown:
        words = ", ".join(repr(word) for word in reasoning.unknown)
        console.print(f"never seen in training: {words}", markup=False)
    count = len(reasoning.steps)
    taken = f"{count} of {reasoner.max_steps} steps" if reasoner.adaptive else f"{count} steps"
    answer = f"{reasoning.answer} ({reasoning.confidence:.0%}, {taken})"
    console.print(answer, style="bold", markup=False, highlight=False)
    table = Table("step", "answer so far", "words read", *["still open"] * reasoner.adaptive)
    for number, step in enumerate(reasoning.steps, 1):
        so_far, share = step.answers[0]
        read = sorted(zip(step.words, reasoning.words, strict=True), key=lambda pair: -pair[0])
        words = ", ".join(f"{word} {weight:.0%}" for weight, word in read[:3])
        cells = [str(number), f"{so_far} {share:.0%}", words]
        table.add_row(*cells, *[f"{step.still_open:.0%}"] * reasoner.adaptive)
    console.print(table)


if __name__ == "__main__":
    sys.exit(one_line_errors(main))
