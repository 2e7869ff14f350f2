"""Whether this program works on this machine, in one table: bash scripts/accept_gpu.sh [--help]."""

import argparse
import shlex
import sys
import time
from functools import partial

from scripts.acceptance import ROOT, report
from scripts.acceptance.options import FULL, PARTS, QUICK, SHORT, Options, Part, given_path
from scripts.acceptance.rows import FAIL, Row, line, skipped
from scripts.acceptance.running import run_part
from utils.terminal import say, set_up

COMMAND = "bash scripts/accept_gpu.sh"


def options_of(arguments: list[str]) -> tuple[Options, list[str]]:
    """The options on the command line, and the parts that it names."""
    names = [part.name for part in PARTS[1:]]
    parser = argparse.ArgumentParser(
        prog=COMMAND, description=__doc__.splitlines()[0], allow_abbrev=False,
        epilog="parts: " + "; ".join(f"{part.name} ({part.proves})" for part in PARTS[1:]),
    )  # fmt: skip
    parser.add_argument("--device", default="cuda", help="default: cuda; the CPU is not taken unasked")
    scopes = parser.add_mutually_exclusive_group()
    scopes.add_argument("--quick", dest="scope", action="store_const", const=QUICK, help="a smoke of every part")
    scopes.add_argument("--full", dest="scope", action="store_const", const=FULL, help="every part at length")
    parser.add_argument(
        "--data_dir", type=given_path, help="a folder with fairface/, for what is measured on real images"
    )
    parser.add_argument("--only", nargs="+", choices=names, default=[], metavar="PART", help="these parts alone")
    parser.add_argument("--out", type=given_path, default=ROOT / "output/accept", help="default: output/accept")
    wanted = parser.parse_args(arguments)
    if wanted.data_dir is not None and not (wanted.data_dir / "fairface").is_dir():
        parser.error(f"--data_dir {wanted.data_dir}: no fairface/ there; give the folder that holds it")
    return Options(wanted.device, wanted.scope or SHORT, wanted.data_dir, wanted.out), wanted.only


def wanted_now(part: Part, options: Options, only: list[str]) -> bool:
    """Whether a part runs: named, or in the scope where none is named; the machine always."""
    return part is PARTS[0] or (part.name in only if only else options.scope in part.limits)


def print_row(part: Part, row: Row) -> None:
    """Print a row of the table."""
    say(line(part.name, row), sys.stdout)


def run_parts(parts: tuple[Part, ...], options: Options, only: list[str], command: str) -> int:
    """Run the parts in their order; returns 0 where something passed and nothing failed, else 1."""
    options.out.mkdir(parents=True, exist_ok=True)
    start, results = time.monotonic(), {}
    for part in parts:
        if wanted_now(part, options, only):
            results[part.name] = run_part(part, options, partial(print_row, part))
            rows, seconds = results[part.name]
            say(f"-- {part.name}: {report.counted(rows)} in {seconds:.0f} s", sys.stdout)
        elif not only:
            results[part.name] = [skipped(part.proves, f"a part of --full, or --only {part.name}")], 0.0
            print_row(part, results[part.name][0][0])
        files = report.write(results, options, command)
        if part is parts[0] and any(row.status == FAIL for row in results[part.name][0]):
            break  # without its device nothing else can be said
    everything = [row for rows, _ in results.values() for row in rows]
    verdict = f"accepted on {options.device}" if report.accepted(results) else "NOT accepted"
    say(f"{verdict}: {report.counted(everything)} in {time.monotonic() - start:.0f} s", sys.stdout)
    say(f"the table: {' and '.join(map(str, files))}; logs beside them", sys.stdout)
    return 0 if report.accepted(results) else 1


def main(arguments: list[str]) -> int:
    """Run what the command line says; returns the exit code."""
    set_up()
    options, only = options_of(arguments)
    return run_parts(PARTS, options, only, f"{COMMAND} {shlex.join(arguments)}".strip())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
