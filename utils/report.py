"""Tables of the runs in an output folder: python -m utils.report output [--format markdown] [--out FILE] [--each]."""

import argparse
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from method.configs.schema import METHODS
from method.evaluation.evaluator import add_reference, evaluate_saved
from utils.errors import RunError, UserError
from utils.files import write_text
from utils.report_text import Row, document
from utils.runs import PRETRAIN, RETRAIN, Run, find_reference, read_runs

ORDER = (PRETRAIN, RETRAIN, "miu", "salun", "scrub", "l1_sparse")
FILTERS = {"dataset": str, "task": str, "method": str, "ratio": float}


def reweights_by_default(method: str) -> bool:
    """Whether REWEIGHT belongs to the method, so that its absence is what a label names."""
    return bool(getattr(METHODS.get(method), "reweight", False))


def label(config: dict[str, Any]) -> str:
    """The method and what departs from its default: "retrain + reweight", "miu (no reweight)", "miu, no alignment"."""
    name, default, reweight = config["method"], reweights_by_default(config["method"]), config.get("reweight")
    if reweight and not default:
        name += " + reweight"
    if reweight is False and default:
        name += " (no reweight)"
    ablations = [re.fullmatch(r"(?:\w+_)?ablate_(\w+)", key) for key, value in config.items() if value is True]
    preset = config.get("preset", "strict")
    extras = [f"no {found[1]}" for found in ablations if found] + ([] if preset == "strict" else [f"{preset} preset"])
    return ", ".join([name, *extras, *filter(None, [config.get("tag")])])


def rank(config: dict[str, Any]) -> tuple:
    """Rows stand in the order of ORDER, other methods after it by name; a method's default before its variants."""
    method = config["method"]
    place = ORDER.index(method) if method in ORDER else len(ORDER)
    return place, method, bool(config.get("reweight")) != reweights_by_default(method), label(config)


def with_reference(run: Run, values: dict[str, Any], runs: Sequence[Run]) -> dict[str, Any]:
    """`values` with ToW and Avg. Gap, where the run was evaluated before its reference was finished."""
    choices = {
        "auto": bool(run.config.get("reweight")) or reweights_by_default(run.method),
        "retrain": False,
        "retrain_reweight": True,
    }
    wanted = run.config.get("reference") or "auto"
    if run.method == RETRAIN or values.get("reference") or wanted not in choices:
        return values
    reference = find_reference(run, runs, choices[wanted])
    if reference is None:
        return values
    return add_reference({"reasons": {}, **values}, reference.metrics, None, reference.folder.name)


def run_rows(run: Run, runs: Sequence[Run]) -> list[Row]:
    """The row of a run; with SCRUB's rewind, one for the epoch it went back to and one for the last."""
    name, last_epoch = label(run.config), run.metrics.get("without_rewind")
    ends = {name: run.metrics}
    if isinstance(last_epoch, dict):
        ends = {f"{name} (rewind)": run.metrics, f"{name} (last epoch)": last_epoch}
    return [
        Row(end, (*rank(run.config), number), run, with_reference(run, values, runs))
        for number, (end, values) in enumerate(ends.items())
    ]


def pretrain_row(pretrain: Run, sibling: Run, runs: Sequence[Run]) -> Row:
    """A pretrained model's row for the task and ratio of `sibling`: its records, with the splits of `sibling`."""
    try:
        groups = {name: sibling.stored["groups"][name] for name in ("names", "n_targets", "n_sensitive")}
    except (KeyError, TypeError):
        raise UserError(f"{sibling.folder / 'config.yaml'} has no groups") from None
    values = evaluate_saved(
        pretrain.folder / "records.npz",
        sibling.folder / "splits.npz",
        group_names=groups["names"],
        n_targets=groups["n_targets"],
        n_sensitive=groups["n_sensitive"],
    )
    reference = find_reference(sibling, runs, reweight=False)
    reason = "no retrain run (without REWEIGHT) of this task, ratio and seed is finished"
    if reference is None:
        add_reference(values, None, reason, None)
    else:
        add_reference(values, reference.metrics, None, reference.folder.name)
    return Row(label(pretrain.config), (*rank(pretrain.config), 0), pretrain, values)


def pretrain_pairs(runs: Sequence[Run]) -> Iterator[tuple[Run, Run]]:
    """Each pretrained run with one run of every table that it serves; with itself if it serves none yet."""
    for pretrain in (run for run in runs if run.method == PRETRAIN):
        served: dict[tuple, Run] = {}
        for run in runs:
            if run.method != PRETRAIN and run.origin == pretrain.origin:
                served.setdefault(run.table, run)
        yield from ((pretrain, run) for run in served.values() or [pretrain])


class Report:
    """The rows of every table, and sentences about what is not in them."""

    def __init__(self, runs: Sequence[Run], wanted: argparse.Namespace) -> None:
        self.wanted = wanted
        self.runs = [run for run in runs if not run.problem]
        self.tables: dict[tuple, list[Row]] = defaultdict(list)
        self.missing = [f"{run.folder}: {run.problem}" for run in runs if run.problem and self._wants(run, run)]
        self._taken: dict[tuple, Run] = {}
        for run in self.runs:
            if run.method != PRETRAIN and self._wants(run, run) and self._takes(run, run.table):
                self.tables[run.table] += run_rows(run, self.runs)
        for pretrain, sibling in pretrain_pairs(self.runs):
            if self._wants(pretrain, sibling) and self._takes(pretrain, sibling.table):
                self._add_pretrain(pretrain, sibling)

    def _wants(self, run: Run, sibling: Run) -> bool:
        """Whether the flags ask for `run`, seen in the table of `sibling`; an unreadable run is always named."""
        if not run.config:
            return True
        found = {"dataset": run.config["dataset"], "method": run.method, "task": sibling.task, "ratio": sibling.ratio}
        if run.problem and run.method == PRETRAIN:  # it would have served every task
            del found["task"], found["ratio"]
        return all(not vars(self.wanted)[name] or value in vars(self.wanted)[name] for name, value in found.items())

    def _takes(self, run: Run, table: tuple) -> bool:
        """Whether this is the first run of its label and seed in the table; a second is named, not averaged in."""
        first = self._taken.setdefault((table, label(run.config), run.config["seed"]), run)
        if first is not run:
            self.missing.append(f"{run.folder}: not counted, the same method and seed as {first.folder}")
        return first is run

    def _add_pretrain(self, pretrain: Run, sibling: Run) -> None:
        try:
            alone = pretrain is sibling
            rows = run_rows(pretrain, self.runs) if alone else [pretrain_row(pretrain, sibling, self.runs)]
        except (UserError, RunError) as error:
            self.missing.append(f"{pretrain.folder}: no row for {sibling.task}, ratio {sibling.ratio:g}: {error}")
        else:
            self.tables[sibling.table] += rows


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m utils.report", description="Tables of the runs in an output folder.")
    parser.add_argument("path", nargs="?", type=Path, default=Path("output"), help="folder with runs (default: output)")
    for name, kind in FILTERS.items():
        parser.add_argument(f"--{name}", type=kind, action="append", help=f"only this {name}; repeatable")
    parser.add_argument("--format", choices=("text", "markdown"), default="text")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write to FILE instead of printing")
    parser.add_argument("--each", action="store_true", help="one row a run instead of mean and deviation over seeds")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print or write the report; the exit code is 2 where there is nothing to report on."""
    wanted = _parse(arguments)
    try:
        report = Report(read_runs(wanted.path), wanted)
        if not report.tables and not report.missing:
            raise UserError(f"no run under {wanted.path} fits --{', --'.join(FILTERS)} as given; leave one of them out")
        text = document(report.tables, report.missing, wanted.format == "markdown", wanted.each)
        if wanted.out is None:
            sys.stdout.write(text)
        elif not wanted.out.parent.is_dir():
            raise UserError(f"--out {wanted.out}: there is no folder {wanted.out.parent}; make it first")
        else:
            write_text(wanted.out, text)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return UserError.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
