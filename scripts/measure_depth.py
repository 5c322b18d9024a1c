"""Train networks of every number of steps and adaptive ones on clevr_depth; write what they show.

`python scripts/measure_depth.py [--size small] [--output docs/depth.md] [OPTION=VALUE …]`

small takes hours on two cores, trial learns nothing. Further options are those of run.py. Stopped
at any time, the same command goes on where it was.
"""

import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import depth_tables as tables
import torch
from depth_plan import SIZES, Size, plan
from depth_tables import Found
from reproduce import make_places
from reproduce_answers import Questions, answer_all, load, open_questions
from reproduce_arguments import arguments
from reproduce_page import machine
from reproduce_plan import Training
from reproduce_runs import Trainer, commit, commits, seconds
from reproduce_statistics import Resamples
from rich.progress import track

from dact.allocator import keep_freed_memory
from dact.console import silence_libraries
from dact.models import MACNetwork
from dact.one_line import one_line_errors
from dact.run_folder import write_whole


def main() -> None:
    """Train, answer, write."""
    given = arguments(__doc__.splitlines()[0], SIZES, Path("docs/depth.md"))
    silence_libraries()
    keep_freed_memory()
    size, work = SIZES[given.size], given.work or Path("logs", "depth", given.size)
    make_places(given.output, work)
    trainings, jobs = plan(size), given.jobs or 2
    Trainer(work, size, given.options).run_all(trainings, jobs)
    write_whole(given.output, page(work, trainings, size, jobs))
    print(f"written: {given.output}")


def page(work: Path, trainings: Sequence[Training], size: Size, jobs: int) -> str:
    """The whole page."""
    torch.set_num_threads(1)
    restored = load(work, trainings)
    questions = open_questions(restored[0][1])
    found = [
        answered(training, one.network, questions) for training, one in track(restored, "answering")
    ]
    draws = Resamples(questions.images)
    parts = {
        "Are the steps needed?": tables.need(found, questions),
        "Do steps follow depth?": tables.follow(found, questions, draws),
        "What decides it": tables.levers(found, questions, draws),
        "Other numbers of steps in evaluation": other_steps(found, questions, size),
        "Time by depth": tables.times(found, questions),
    }
    head = f"""# Steps and depth

What networks learn of the {len(questions.right):,} validation questions of
[clevr_depth](data.md#the-questions-of-clevr_depth), which are of one type, have the same answers,
and need d = 0 to {questions.reads.max()} reads, one after another. Written by

```
{shlex.join(["python", "scripts/measure_depth.py", *sys.argv[1:]])}
```

on {time.strftime("%Y-%m-%d")} on {machine()}; trained at {", ".join(commits(work, trainings))},
{seconds(work, trainings) / 3600:.1f} hours in sum, {jobs} at once; written at {commit()}. Numbers
are means over seeds ± their standard deviation; intervals (95 %) are over resampled images."""
    return "\n\n".join([head, *(f"## {name}\n\n{text}" for name, text in parts.items())]) + "\n"


def answered(training: Training, network: MACNetwork, questions: Questions) -> Found:
    """What a network answers, in as many steps as it has now."""
    given = answer_all(network, questions)
    return Found(training, network, given.answers == questions.right, given.steps)


def other_steps(found: Sequence[Found], questions: Questions, size: Size) -> str:
    """Accuracy by depth of networks that take fewer or more steps than they were trained with."""
    shown = ("dact-s0", f"mac-{size.steps}-s0", f"mac-{size.steps // 2}-s0")
    rows = []
    for one in found:
        if one.training.name in shown:
            steps = one.network.max_steps
            rows.append((steps, one))
            for most in sorted({steps - 1, steps + 1, 2 * steps} - {0}):
                one.network.eval_steps = most
                rows.append((most, answered(one.training, one.network, questions)))
            one.network.eval_steps = None
    return tables.by_most_steps(rows, questions)


if __name__ == "__main__":
    sys.exit(one_line_errors(main))
