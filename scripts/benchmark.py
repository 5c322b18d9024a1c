"""Time this implementation against a plain one, in one process and in alternation.

`python scripts/benchmark.py --output B.json` at the full size of CLEVR; `--size mini` at that of
clevr_mini's network; `--device cuda`, also with `--compile`, on a GPU. Ratios above 1 say how many
times faster ours is. Weights and inputs are the same on both sides, and the answers are compared
first; the plain one computes in float32 throughout.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from benchmark_cases import CASES, SIZES, Case, How, Size, build
from benchmark_profile import gflop, shares
from benchmark_tables import SIDES, show, show_curve, show_profile
from plain_mac import PlainMAC
from rich.progress import track

from dact.allocator import keep_freed_memory
from dact.batch import VQABatch
from dact.losses import answer_loss, total_loss
from dact.models import MACNetwork
from dact.one_line import one_line_errors


def runner(case: Case, network: torch.nn.Module, batch: VQABatch) -> Callable[[], None]:
    """What is timed: an evaluation, or a training step without the optimizer."""
    # The plain one is the yardstick of all cases, so it always runs in float32.
    reduced = case.bf16 and isinstance(network, MACNetwork)
    precision = torch.autocast(batch.tokens.device.type, torch.bfloat16, enabled=reduced)

    def answer() -> None:
        with torch.inference_mode(), precision:
            network(batch)

    def learn() -> None:
        network.zero_grad()
        with precision:
            log_probs, cost, *_ = network(batch)
        total_loss(answer_loss(log_probs, batch.answers), cost, 5e-3).backward()

    return learn if case.train else answer


def seconds(run: Callable[[], None]) -> float:
    """Wall time of one call, until the device has done its work."""
    start = time.perf_counter()
    run()
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def compare(case: Case, size: Size, how: How, repeats: int) -> dict[str, Any]:
    """Median times of both, their ratio, and the range of ratios of one call after the other."""
    network, plain, batch = build(case, size, how)
    if not case.train and not case.bf16:
        check_answers(network, plain, batch)
    ours, theirs = (runner(case, module, batch) for module in (network, plain))
    seconds(ours), seconds(theirs)
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(repeats)]
    ours_s, plain_s = (statistics.median(column) for column in zip(*pairs, strict=True))
    row: dict[str, Any] = {
        "ratio": plain_s / ours_s,
        "ratio_low": min(theirs / ours for ours, theirs in pairs),
        "ratio_high": max(theirs / ours for ours, theirs in pairs),
        "ours_s": ours_s,
        "plain_s": plain_s,
        "ours_gflop": gflop(ours) / size.batch,
        "plain_gflop": gflop(theirs) / size.batch,
        "mean_steps": mean_steps(network, batch),
    }
    if how.device == "cpu":  # a profile of the processor says nothing of another device
        row |= {"ours_shares": shares(ours), "plain_shares": shares(theirs)}
    return row


@torch.no_grad()
def mean_steps(network: MACNetwork, batch: VQABatch) -> float:
    """Mean active steps of a batch."""
    return network(batch).steps.float().mean().item()


@torch.inference_mode()
def check_answers(network: MACNetwork, plain: PlainMAC, batch: VQABatch) -> None:
    """Refuse to compare what does not answer alike."""
    ours, (log_probs, _, steps) = network(batch), plain(batch)
    torch.testing.assert_close(ours.log_probs.exp(), log_probs.exp(), atol=1e-5, rtol=0)
    assert ours.steps.tolist() == steps.tolist()
    assert ours.log_probs.argmax(-1).tolist() == log_probs.argmax(-1).tolist()


def peak_memory(case: Case, side: str, arguments: argparse.Namespace) -> float:
    """MiB that one call of a side adds to a fresh process, at most."""
    command = [sys.executable, __file__, "--size", arguments.size, "--device", arguments.device]
    command += ["--threads", str(arguments.threads), "--memory-of", case.name, "--side", side]
    command += ["--allocator", arguments.allocator]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout)


def print_peak(case: Case, size: Size, how: How, side: str) -> None:
    """Body of that fresh process."""
    network, plain, batch = build(case, size, how)
    before = used_memory(how.device)
    runner(case, network if side == "ours" else plain, batch)()
    print((used_memory(how.device) - before) / 2**20)


def used_memory(device: str) -> int:
    """Bytes that the process had at most, on its device."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated()
    # Not getrusage: there a process begins with the peak of the one that started it.
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) * 1024


def matmul_peak(device: str) -> float:
    """GFLOP/s of a large float32 matrix product on this machine, the best of some."""
    left, right = torch.rand(2, 2048, 2048, device=device)
    return 2 * 2048**3 / 1e9 / min(seconds(lambda: left @ right) for _ in range(8))


def steps_curve(size: Size, how: How, repeats: int) -> list[dict[str, float]]:
    """Time of DACT's evaluation over a range of mean active steps."""
    rows = []
    for wanted in range(1, size.steps + 1, max(1, size.steps // 5)):
        case = Case("curve", "dact", questions_per_image=10, mean_steps=wanted)
        network, _, batch = build(case, size, how)
        run = runner(case, network, batch)
        run()
        took = statistics.median(seconds(run) for _ in range(repeats))
        with torch.inference_mode():
            steps = network(batch).steps
        mean, largest = steps.float().mean().item(), steps.max().item()
        rows.append({"mean": mean, "largest": largest, "ms": 1e3 * took / size.batch})
    return rows


def report(arguments: argparse.Namespace, cases: list[Case]) -> None:
    """Run the cases, print the tables and write the figures."""
    size, peak = SIZES[arguments.size], matmul_peak(arguments.device)
    how = how_of(arguments)
    results = {}
    for case in track(cases, "comparing", transient=True):
        results[case.name] = compare(case, size, how, arguments.repeats)
        if not arguments.no_memory:
            for side in SIDES:
                results[case.name][f"{side}_mib"] = peak_memory(case, side, arguments)
    if results:
        show(results, peak, size)
        if how.device == "cpu":
            show_profile(results, size)
    curve = [] if arguments.no_curve else steps_curve(size, how, arguments.repeats)
    if curve:
        show_curve(curve)
    if arguments.output:
        figures = {**results, "matmul_gflops": peak, "curve": curve}
        arguments.output.write_text(json.dumps(figures, indent=2) + "\n")


def how_of(arguments: argparse.Namespace) -> How:
    """What the options say of device and compilation."""
    return How(arguments.device, arguments.compile, arguments.fixed_shapes)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [case.name for case in CASES]
    parser.add_argument("--size", choices=SIZES, default="clevr", help="shapes (default: clevr)")
    parser.add_argument("--cases", nargs="*", default=names, choices=names)
    parser.add_argument("--repeats", type=int, default=5, help="calls of each side (default: 5)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--compile", action="store_true", help="compile ours")
    parser.add_argument("--fixed-shapes", action="store_true", help="ours: nobody leaves the batch")
    parser.add_argument(
        "--allocator",
        choices=("keep", "system"),
        default="keep",
        help="keep: freed memory is kept, as run.py does (default); system: as the C library does",
    )
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    parser.add_argument("--no-memory", action="store_true", help="skip peak memory")
    parser.add_argument("--no-curve", action="store_true", help="skip time against steps")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.allocator == "keep":
        keep_freed_memory()
    chosen = [arguments.memory_of] if arguments.memory_of else arguments.cases
    cases = [case for case in CASES if case.name in chosen]
    if arguments.memory_of:
        print_peak(cases[0], SIZES[arguments.size], how_of(arguments), arguments.side)
    else:
        report(arguments, cases)


if __name__ == "__main__":
    sys.exit(one_line_errors(main))
