"""Ask a trained network questions in the browser, and watch it reason.

`python scripts/demo.py --checkpoint X.ckpt [--port 7860]`   (needs the extra `demo`)

Only this machine can open the page, unless --host says otherwise.
"""

import argparse
import os
import socket
import sys
from pathlib import Path

import numpy as np

from dact.console import silence_libraries
from dact.errors import UserError
from dact.explain.knowledge import ImageReader, Knowledge, of_dataset, of_scene, read_scene
from dact.explain.page import render, strip_html
from dact.explain.reasoning import Reasoner
from dact.one_line import one_line_errors
from dact.runs.restore import Restored, open_data, restore

#: Images of the dataset to pick from.
PICKS = 12


class Demo:
    """What the page calls; keeps nothing of any visitor.

    Args:
        restored: the network.
        root: folder of its dataset, if it has moved; without the dataset there is nothing to pick.
        split: of the dataset, or None for the one validated on.
    """

    def __init__(self, restored: Restored, root: Path | None, split: str | None) -> None:
        self.restored = restored
        self.reasoner = Reasoner(restored.network, restored.checked_vocabulary)
        self.scenes = restored.description.config["data"]["features"] == "state"
        self.reader: ImageReader | None = None
        self.problem = ""
        """Why no picture can be uploaded."""
        if not self.scenes:
            try:
                self.reader = ImageReader(restored.description)
            except UserError as error:
                self.problem = str(error)
        self.title = f"Ask {restored.run}"
        self.wanted = "a scene (JSON)" if self.scenes else "a picture"
        self.picks = self._find_picks(root, split)

    def _find_picks(self, root: Path | None, split: str | None) -> list[tuple[Knowledge, str]]:
        """Images of the dataset, each with a question about it."""
        try:
            data = open_data(self.restored, root, split)
        except UserError as error:
            print(f"no images to pick from: {error}", file=sys.stderr)
            return []
        (split,) = data.splits_of("predict")
        questions = data.dataset(split).questions
        there = np.unique(questions.image_places[questions.image_rows >= 0])
        picks = []
        for name in (questions.images[place] for place in there[:PICKS]):
            record = questions.record(questions.first_about(name))
            picks.append((of_dataset(data, split, name), record.question))
        return picks

    def load(self, path: str) -> Knowledge:
        """What a visitor uploaded: a picture, or a scene.

        Raises:
            UserError: it is neither.
        """
        if self.scenes:
            return of_scene(self.restored.description, read_scene(Path(path), 0))
        if self.reader is None:
            raise UserError(self.problem)
        return self.reader.read(Path(path))

    def answer(self, knowledge: Knowledge | None, question: str) -> str:
        """The answer and how the network came to it, as HTML.

        Raises:
            UserError: there is no image or no question.
        """
        if knowledge is None:
            raise UserError("pick an image first, or upload one")
        reasoning = self.reasoner.ask(question or "", knowledge.features, knowledge.num_cells)
        kind = {"max_steps": self.reasoner.max_steps, "adaptive": self.reasoner.adaptive}
        strip = strip_html("demo", reasoning, knowledge.view, **kind)
        return render("answer.html", reasoning=reasoning, strip=strip, **kind)


def main() -> None:
    """Read the command line and serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--root", type=Path, help="folder of the dataset, if it has moved")
    parser.add_argument("--split", help="of the images to pick from")
    parser.add_argument("--tokenizer", help="the checkpoint's data.tokenizer, if it is a function")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 lets other machines in")
    parser.add_argument("--port", type=int, default=7860)
    arguments = parser.parse_args()
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    try:
        import demo_page
    except ImportError as error:
        raise UserError("the demo needs the extra `demo`: pip install 'dact-mac[demo]'") from error
    silence_libraries()
    check_port(arguments.host, arguments.port)
    restored = restore(arguments.checkpoint, arguments.tokenizer)
    demo = Demo(restored, arguments.root, arguments.split)
    demo_page.launch(demo_page.build(demo), arguments.host, arguments.port)


def check_port(host: str, port: int) -> None:
    """Refuse an address that cannot be served on, before anything is loaded.

    Raises:
        UserError: it is taken, or not this machine's.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"cannot serve on {host}:{port}: {reason}; give --port") from error


if __name__ == "__main__":
    sys.exit(one_line_errors(main))
