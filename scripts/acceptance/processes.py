"""Several processes, as torchrun starts them, are one run: NCCL on cards of their own, gloo on the CPU."""

import math
import os
import subprocess
import sys
import tempfile
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from scripts.acceptance import ROOT, gpu
from scripts.acceptance.harness import CPU
from scripts.acceptance.options import Options
from scripts.acceptance.recording import EXACT, apart
from scripts.acceptance.rows import LONGEST, Row, Rows, guarded, reason, skipped, verdict
from scripts.acceptance.worker import everything
from utils import device as devices
from utils.collectives import all_reduce

Found = dict[str, dict[str, Any]]
WORKER = "scripts.acceptance.worker"
NCCL, REFUSAL = "NCCL on one card", "2 processes on 1 card are refused"
REFUSED = "has no GPU of its own"


def rows(options: Options) -> Rows:
    """One process under torchrun, then two; where one card is all there is, two on the CPU."""
    device = gpu.chosen(options)
    yield from compared(1, device)
    if not gpu.is_gpu(device) or gpu.count(device) > 1:
        yield from compared(2, device)
    else:
        yield from guarded(NCCL, partial(nccl_sums, device))
        yield skipped("2 processes on 2 cards", f"this machine offers {gpu.count(device)} card")
        yield from compared(2, CPU)
        yield from guarded(REFUSAL, refused_on_one_card)
    if options.full:
        n = 2 if device == CPU or gpu.count(device) > 1 else 1
        yield from guarded(f"main.py in {n} processes", partial(whole_run, n, device))


def compared(n: int, device: torch.device) -> Rows:
    """Every variant in n processes and in this one."""
    yield from guarded(place_of(n, device), lambda: started(n, device, alone_on(device)))


@cache
def alone_on(device: torch.device) -> Found:
    """What one process without torchrun computes."""
    return everything(device)


def place_of(n: int, device: torch.device) -> str:
    """How many processes, where, and what carries their tensors."""
    carrier = "" if n == 1 else ", gloo" if device == CPU else ", NCCL"  # one process sends nothing
    return f"{n} process{'es' * (n > 1)} under torchrun on {'the CPU' if device == CPU else device.type}{carrier}"


def started(n: int, device: torch.device, alone: Found) -> Rows:
    """Every variant in n processes against one process without torchrun."""
    where = place_of(n, device)
    broken = [variant for variant, one in alone.items() if "error" in one]
    for variant in broken:
        yield verdict(f"{variant}: {where}", False, alone[variant]["error"], "in one process without torchrun")
    alone = {variant: one for variant, one in alone.items() if variant not in broken}
    with tempfile.TemporaryDirectory() as folder:
        done = torchrun(n, ["-m", WORKER, device.type, folder, *broken])
        if done.returncode:
            said = reason(done.stderr)
            yield verdict(where, False, f"torchrun ended with {done.returncode}", said)
            return
        found = [torch.load(Path(folder, f"{rank}.pt"), weights_only=True) for rank in range(n)]
    if n == 1:
        yield same_bits(f"all methods: {where}", found[0], alone)
        return
    for variant, expected in alone.items():
        name = f"{variant}: {where}"
        yield from guarded(name, partial(compare_processes, name, [one[variant] for one in found], expected))


def nccl_sums(device: torch.device) -> Row:
    """NCCL starts on this card and gives back what one process sends it."""
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group(devices.collective_backend(), store=store, rank=0, world_size=1)
    try:
        sent = torch.arange(1000.0, device=device)
        summed = sent.clone()
        all_reduce(summed)
        good = torch.equal(summed, sent) and torch.distributed.is_nccl_available()
    finally:
        torch.distributed.destroy_process_group()
    return verdict(NCCL, good, "a sum over one process", "the same numbers")


def torchrun(n: int, words: list[str]) -> subprocess.CompletedProcess:
    """Start n processes and wait for them; what they say goes to the log too."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(n), *words]
    environment = os.environ | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    print(f"== {' '.join(command)}\n{done.stdout}{done.stderr}", flush=True)
    return done


def same_bits(name: str, found: Found, alone: Found) -> Row:
    """Whether one process under torchrun holds the bits of one without."""
    errors = [f"{variant}: {one['error']}" for variant, one in found.items() if "error" in one]
    if errors or not alone:
        return verdict(name, False, "; ".join(errors)[:LONGEST] or "no method was there to compare")
    gap = max(apart(found[variant]["weights"], expected["weights"]) for variant, expected in alone.items())
    return verdict(name, gap == 0, f"weights {gap:.1e} from those without torchrun", "bit-equal")


def compare_processes(name: str, found: list[dict[str, Any]], expected: dict[str, Any]) -> Row:
    """Whether all processes hold the same bits, and those of one process but for rounding."""
    agree = all(
        apart(one["weights"], found[0]["weights"]) == 0 and one["history"] == found[0]["history"] for one in found
    )
    gap = apart(found[0]["weights"], expected["weights"])
    losses = histories_apart(found[0]["history"], expected["history"])
    value = f"{'agree' if agree else 'DISAGREE'}, weights {gap:.1e} and history {losses:.1e} from one process's"
    return verdict(
        name, agree and gap <= EXACT and losses <= EXACT, value, f"bit for bit among them, at most {EXACT:.0e}"
    )


def histories_apart(history: list[dict[str, float]], other: list[dict[str, float]]) -> float:
    """The largest difference of two histories, relative to values above 1; infinite where a column or a row lacks."""
    if [list(row) for row in history] != [list(row) for row in other]:
        return math.inf
    gaps = [
        abs(row[key] - wanted[key]) / max(1.0, abs(wanted[key]))
        for row, wanted in zip(history, other, strict=True)
        for key in row
    ]
    return max(math.inf if math.isnan(gap) else gap for gap in gaps)


def refused_on_one_card() -> Row:
    """More processes than cards are refused with a sentence, not with a hang."""
    with tempfile.TemporaryDirectory() as folder:
        words = f"--method pretrain --dataset digits --device cuda --epochs 1 --store_dir {folder}"
        done = torchrun(2, [str(ROOT / "main.py"), *words.split()])
    told = REFUSED in done.stderr
    value = f"ended with {done.returncode}, {'with' if told else 'without'} the sentence"
    return verdict(REFUSAL, done.returncode != 0 and told, value, f"... {REFUSED}")


def whole_run(n: int, device: torch.device) -> Row:
    """main.py under torchrun, from the labels to the metrics."""
    with tempfile.TemporaryDirectory() as folder:
        words = f"--method pretrain --dataset digits --epochs 1 --device {device.type} --store_dir {folder}"
        done = torchrun(n, [str(ROOT / "main.py"), *words.split()])
        ended = list(Path(folder).rglob("done"))
    good = done.returncode == 0 and len(ended) == 1
    said = "" if good else reason(done.stderr)
    return verdict(f"main.py, pretrain in {n} processes", good, f"ended with {done.returncode}", said)
