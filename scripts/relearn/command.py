"""python -m scripts.relearn RUN... [--retrained FOLDER] [--forgotten 0,1,5] [--steps 10,20] [--lr X] ..."""

import argparse
import logging
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from method.configs.key import Key
from method.configs.schema import all_keys
from method.runs.audits import check_run, identity, question_in
from method.runs.findings import RELEARN, RELEARN_PARTS, read_findings, write_findings
from method.runs.stored import StoredRun
from scripts.relearn.belonging import Trio, find_trio
from scripts.relearn.bench import SLOWER, Bench, Options, opened_bench
from scripts.relearn.parts import Store, differences
from scripts.relearn.results import describe, findings
from utils.device import DEVICES
from utils.errors import UserError, disk_full
from utils.files import PART
from utils.locks import locked
from utils.paths import typed_path
from utils.signals import INTERRUPTED, check_stop, stop_signals_noted
from utils.terminal import LogLines, Parser, on_terminal, say, tell

DESCRIPTION = """Fine-tune finished runs a little: what comes back of a forget set, and what weights and features know.

The unlearned model, the retrained model and the original are fine-tuned alike, on retained samples and a few forgotten
ones, with the optimiser, batches and augmentation of the retrained run. The answer is relearn.json in the folder of
each RUN; docs/audit.md says what is in it."""
EPILOG = """exit codes: 0 done or already done; 1 it failed; 2 wrong usage, or runs that do not belong together;
75 interrupted: the same command goes on."""
DEFAULT = Options()
GROUP = "relearn"
OWN_KEYS = {
    key.name: key
    for key in (
        Key("steps", str, "", GROUP, rising=True),
        Key("epochs", int, "", GROUP, at_least=1),
        Key("samples", int, "", GROUP, at_least=20),
    )
}


def _parser() -> Parser:
    parser = Parser(
        "python -m scripts.relearn",
        description=DESCRIPTION,
        epilog=EPILOG,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add, forgotten, steps = parser.add_argument, _spell(DEFAULT.forgotten), _spell(DEFAULT.steps)
    add("runs", metavar="RUN", nargs="+", type=typed_path, help="the folder of a finished run, with its model.pt")
    add("--retrained", metavar="FOLDER", type=typed_path, help="the retrained run to compare with (default: that of "
        "Avg. Gap, looked for beside RUN)")  # fmt: skip
    add("--original", metavar="FOLDER", type=typed_path, help="the pretrained run that RUN started from (default: "
        "looked for likewise)")  # fmt: skip
    add("--forgotten", metavar="N,N", default=forgotten, help="how many forgotten samples are shown, a curve each "
        f"(default: {forgotten})")  # fmt: skip
    add("--steps", metavar="N,N", default=steps, help="steps of fine-tuning after which accuracies are taken, beside "
        f"those before the first (default: {steps})")  # fmt: skip
    add("--epochs", metavar="N", default=DEFAULT.epochs, help="passes over the forget set after which relearning it is "
        f"given up (default: {DEFAULT.epochs})")  # fmt: skip
    add("--lr", metavar="X", help=f"learning rate (default: that of the retrained run, divided by {SLOWER})")
    add("--seed", metavar="N", default=DEFAULT.seed, help=f"of all that is drawn (default: {DEFAULT.seed})")
    add("--samples", metavar="N", default=DEFAULT.samples, help="at most so many retained, forgotten, validation and "
        f"held-out samples, drawn by the seed (default: {DEFAULT.samples})")  # fmt: skip
    add("--data_dir", metavar="FOLDER", help="folder of the data sets (default: that of the retrained run)")
    add("--device", metavar="NAME", help=f"{DEVICES} (default: that of the retrained run)")
    add("--threads", metavar="N", help="threads inside operations (default: those of the retrained run)")
    add("--overwrite", action="store_true", help="make relearn.json anew where it is there")
    return parser


def _spell(numbers: Sequence[int]) -> str:
    return ",".join(map(str, numbers))


def read_options(wanted: argparse.Namespace) -> Options:
    """What was typed, as typed values; UserError for what main.py would refuse under the same name."""
    keys = {**all_keys(), **OWN_KEYS}
    given = {
        name: keys[name].coerce(getattr(wanted, name), f"--{name}")
        for name in ("steps", "epochs", "lr", "seed", "samples", "data_dir", "device", "threads")
        if getattr(wanted, name) is not None
    }
    given["steps"] = tuple(map(int, given["steps"].split(",")))
    return Options(forgotten=_read_forgotten(wanted.forgotten), **given)


def _read_forgotten(text: str) -> tuple[int, ...]:
    words = [word.strip() for word in text.split(",")]
    numbers = [int(word) for word in words if word.isascii() and word.isdigit()]
    if len(numbers) < len(words) or numbers != sorted(set(numbers)):
        raise UserError(
            f"--forgotten {text}: expected whole numbers from 0 that rise, with commas between them, such as 0,1,5"
        )
    return tuple(numbers)


@on_terminal
def main(arguments: Sequence[str] | None = None) -> int:
    """Test every run, or go on with it; returns the exit code."""
    wanted = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, handlers=[LogLines()], force=True)
    options = read_options(wanted)
    try:
        with stop_signals_noted(INTERRUPTED):
            _test(wanted, options)
    except KeyboardInterrupt as stop:
        say(f"{str(stop) or 'interrupted'}: run the same command to continue")
        return INTERRUPTED
    return 0


def _test(wanted: argparse.Namespace, options: Options) -> None:
    """Read all runs and try where their answers go, then test one after the other."""
    trios = []
    for folder in wanted.runs:
        check_stop()
        trios.append(find_trio(folder, wanted.retrained, wanted.original))
        try_place(folder)
    known: dict[str, Any] = {}
    for trio in trios:
        relearn(trio, options, known, wanted.overwrite)


def try_place(folder: Path) -> None:
    """UserError where the answer, or a part of it, could not be written into the folder."""
    for file in (folder / RELEARN, folder / RELEARN_PARTS):
        if os.path.exists(file) and not os.path.isfile(file):
            raise UserError(f"{file} is no regular file, and the answer is to stand there; move it elsewhere")
    try:
        with tempfile.NamedTemporaryFile(prefix=f".{RELEARN}.", suffix=PART, dir=folder):
            pass
    except OSError as error:
        told = f"{folder} cannot be written to ({error.strerror or error}), and the answer is to stand there"
        raise disk_full(error, folder) or UserError(f"{told}; change its permissions, or test a copy") from None


def relearn(trio: Trio, options: Options, known: dict[str, Any], overwrite: bool) -> None:
    """Make relearn.json of one run, unless it is there; known: parts that several runs of a command share."""
    folder = trio.unlearned.folder
    with opened_bench(trio, options) as (bench, hardware), locked(folder, wait=True):
        question = question_of(trio, bench, hardware)
        file = folder / RELEARN
        if not overwrite and _answers(file, trio.unlearned, question):
            tell(f"already done: {file}")
            return
        store = Store.opened(folder, question, known)
        if store.changed:
            say(f"{folder}: begun with other options, and started anew: {'; '.join(store.changed)}")
        if store.damaged:
            say(f"{store.file}: some parts are not as expected, and made anew: {'; '.join(store.damaged)}")
        parts = store.complete(bench, lambda name, number, n: _show(f"{folder.name}: {name} ({number} of {n})"))
        found = findings(trio.unlearned, bench.dataset.group_names, options.forgotten, parts)
        write_findings(file, found, {"question": question, "runs": _places(trio), "of": identity(trio.unlearned)})
        store.file.unlink(missing_ok=True)
    tell(f"{trio.unlearned.place}\n{describe(found)}\ndone: {file}")


def _show(line: str) -> None:
    say(line)


def question_of(trio: Trio, bench: Bench, hardware: dict[str, Any]) -> dict[str, Any]:
    """All that the numbers depend on, plain values: two tests are the same if these are equal."""
    options, config = bench.options, bench.config
    training = (
        "lr",
        "optimizer",
        "momentum",
        "weight_decay",
        "amsgrad",
        "batch_size",
        "max_grad_norm",
        "use_train_aug",
    )
    return {
        **{name: list(getattr(options, name)) for name in ("forgotten", "steps")},
        **{name: getattr(options, name) for name in ("epochs", "seed", "samples")},
        **{name: config.values[name] for name in training},
        "forget_fingerprint": trio.splits.forget_fingerprint,
        "weights": trio.digests(),
        "hardware": {name: hardware[name] for name in ("device", "threads", "precision")},
    }


def _answers(file: Path, run: StoredRun, question: dict[str, Any]) -> bool:
    """Whether the same test is done; says what is another where it is not the same."""
    if not file.exists():
        return False
    try:
        found, facts = read_findings(file)
        check_run(file, run, found, facts)
    except UserError as error:
        say(f"{error}; it is made anew")
        return False
    changed = differences(dict(question_in(facts)), question)
    if changed:
        say(f"{file} was made with other options, and is made anew: {'; '.join(changed)}")
    return not changed


def _places(trio: Trio) -> dict[str, str]:
    """The names of the three folders, without what is of this machine."""
    return {name: run.folder.resolve().name for name, run in trio.runs().items()}
