"""`run.py` with a halting unit that is sure of itself, noting what each training step did.

Started as a program; the processes that Lightning starts are then the same program.
"""

import os
import sys
from pathlib import Path

import hydra
import torch

import run
from dact import command_line, config
from dact.lit_module import VQALitModule
from dact.models import MACNetwork, build_network
from dact.one_line import one_line_errors
from dact.runs import parts


def build_sure_network(*arguments, **options):
    network = build_network(*arguments, **options)
    with torch.no_grad():
        network.gate.linears[0].weight.mul_(float(os.environ["HALTING_SCALE"]))
    return network


def note_steps():
    """Append to `steps-<rank>.txt` how often the network took a step, and the ponder weight."""
    taken, step, training_step = [], MACNetwork.step, VQALitModule.training_step

    def counted_step(self, state, inputs, n):
        taken.append(n)
        return step(self, state, inputs, n)

    def noted_training_step(self, batch, batch_idx):
        taken.clear()
        weight = self.ponder_cost
        outputs = training_step(self, batch, batch_idx)
        with Path(f"steps-{self.global_rank}.txt").open("a") as file:
            file.write(f"{len(taken)} {weight!r}\n")
        return outputs

    MACNetwork.step, VQALitModule.training_step = counted_step, noted_training_step


if __name__ == "__main__":
    parts.build_network = build_sure_network
    note_steps()
    sys.argv[1:] = command_line.rewrite(sys.argv[1:], run.ponder_files())
    config.register()
    # Hydra looks for the folder of configurations beside the program.
    main = hydra.main(config_path=str(run.CONF), config_name="config", version_base="1.3")
    sys.exit(one_line_errors(main(run.main.__wrapped__), run.CONF))
