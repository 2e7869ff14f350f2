"""The table of bad input in docs/reliability.md, as data: what is done, and what comes.

A case is a short title and a function that prepares a `Place` and returns the command; the test runs every case and
compares it with its row. After a change that is meant, make the rows anew from the project's folder with

    PYTHONPATH=. python tests/bad_input_table.py
"""

import contextlib
import ctypes
import io
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from cli import ROOT, ok, run
from damage import full_disk, poison_npz, poison_torch, poisonous_yaml
from folders import make_custom, make_fairface, make_waterbird

from utils.report import command as report

PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- bad input: begin -->", "<!-- bad input: end -->"
SMALL = "--dataset waterbird --model small_cnn --image_size 32 --no-pretrained --epochs 1 --threads 1 --num_workers 0"
PRETRAINED = Path("waterbird/small_cnn/pretrain_0")
RETRAINED = Path("waterbird/small_cnn/split0/retrain_0.5_0")
BIRDS = "waterbird_complete95_forest2water2"


@dataclass(frozen=True)
class Place:
    """A folder of its own for a case; data and checkpoints are copied into it only where a case changes them."""

    tmp: Path
    shared: Path  # data/ and runs/: nobody may change them

    @property
    def store(self) -> Path:
        return self.tmp / "store"

    @property
    def trace(self) -> Path:
        """What a payload would make."""
        return self.tmp / "trace"

    @property
    def data(self) -> Path:
        own = self.tmp / "data"
        return own if own.exists() else self.shared / "data"

    def own_data(self) -> Path:
        """The Waterbirds folder, to damage."""
        return Path(shutil.copytree(self.shared / "data" / BIRDS, self.tmp / "data" / BIRDS))

    def own_fairface(self) -> Path:
        """FairFace's label files, to damage."""
        unwanted = shutil.ignore_patterns("*.jpg")
        source = self.shared / "data" / "fairface"
        return Path(shutil.copytree(source, self.tmp / "data" / "fairface", ignore=unwanted))

    def own_custom(self) -> Path:
        """A custom folder, to damage."""
        return Path(shutil.copytree(self.shared / "data" / "my_data", self.tmp / "data" / "my_data"))

    def own_runs(self) -> Path:
        """A store with a pretrained and a retrained run, to damage."""
        return Path(shutil.copytree(self.shared / "runs", self.store))

    def half_finished(self) -> Path:
        """A store whose pretrained run has ended before its last word."""
        runs = self.own_runs()
        (runs / PRETRAINED / "done").unlink()
        return runs

    def config(self, text: str) -> str:
        """A command with this --config file."""
        (self.tmp / "mine.yaml").write_text(text)
        return f"--method miu --config {self.tmp / 'mine.yaml'}"


def make_shared(folder: Path) -> Path:
    """The data sets and runs that the cases start from."""
    make_waterbird(folder / "data")
    make_fairface(folder / "data")
    make_custom(folder / "data")
    for method in ("pretrain", "retrain"):
        ok(f"--method {method} {SMALL}", data_dir=folder / "data", store_dir=folder / "runs", checkpoint_dir=folder)
    return folder


Prepare = Callable[[Place], str]
CASES: dict[str, tuple[Prepare, Callable]] = {}


@contextlib.contextmanager
def nothing(place: Place):
    yield


def case(title: str, during: Callable = nothing) -> Callable[[Prepare], Prepare]:
    """Register a case; `during` is a context (a full disk) for the command."""

    def register(prepare: Prepare) -> Prepare:
        assert title not in CASES
        CASES[title] = (prepare, during)
        return prepare

    return register


def typed(title: str, command: str) -> None:
    """A case that is nothing but a command."""
    case(title)(lambda place: command)


# Arguments.

typed("no method", "--dataset digits")
typed("a method that does not exist", "--method finetune")
typed("a data set that does not exist", "--method pretrain --dataset cifar10")
typed("a misspelt flag", "--method pretrain --sead 3")
typed("an abbreviated flag", "--method retrain --unlearning 0.5")
typed("a flag without its value", "--method pretrain --seed")
typed("a seed that is no whole number", "--method pretrain --seed 1.5")
typed("a learning rate of 0", "--method pretrain --lr 0")
typed("a ratio above 1", "--method retrain --unlearning_ratio 1.5")
typed("a ratio that is no number", "--method retrain --unlearning_ratio nan")
typed("a flag of another method", "--method salun --scrub_alpha 0.5")
typed("REWEIGHT for pretrain", "--method pretrain --reweight")
typed("REWEIGHT for a method that never sees the retain set", "--method ga --reweight")
typed("group DRO for a method that starts from the original", "--method miu --rob_approach dro")
typed("group DRO and REWEIGHT at once", "--method retrain --rob_approach dro --reweight")
typed("a way to treat groups that does not exist", "--method retrain --rob_approach gdro")
typed("epochs for a method without any", "--method ssd --epochs 3")
typed("an original for pretrain, which starts from none", "--method pretrain --original output/other")
typed("a reference for pretrain, which is compared with none", "--method pretrain --reference retrain")
typed("a split number that the data set does not have", "--method miu --dataset fairface --split_number 5")
typed("two tasks at once", "--method miu --dataset fairface --multi_group 3 --split_number 1")
typed("a group by number and by name", "--method miu --split_number 0 --forget_groups 1:0")
typed("a group without its sensitive value", "--method miu --dataset waterbird --forget_groups waterbird")
typed("a group that the data set does not have", "--method miu --dataset waterbird --forget_groups duck:land")
typed("groups for samples at random", "--method miu --unlearning_type random --forget_groups 1:0")
typed("leave to skip names without a list", "--method retrain --skip_unknown")
typed("a tag with a slash", "--method pretrain --tag a/b")
typed("an empty store folder", "--method pretrain --store_dir ''")
typed("a numbered CPU", "--method pretrain --device cpu:3")
typed("a device that does not exist", "--method pretrain --device tpu")
typed("an image size that the data set does not have", "--method pretrain --dataset digits --image_size 64")
typed("two flags that exclude each other", "--method pretrain --skip_bad_images --no-verify_data")

# Configuration.


@case("a --config file that is not there")
def _(place: Place) -> str:
    return f"--method miu --config {place.tmp / 'absent.yaml'}"


case("a --config file with an unknown key")(lambda place: place.config("learning_rate: 0.1\n"))
case("a --config file with a key twice")(lambda place: place.config("lr: 0.1\nseed: 1\nlr: 0.2\n"))
case("a --config file with a value of another type")(lambda place: place.config("epochs: many\n"))
case("a --config file that is no YAML")(lambda place: place.config("lr: [0.1\n"))
case("a --config file with a payload")(lambda place: place.config(poisonous_yaml(place.trace)))

# Labels.


@case("no data folder")
def _(place: Place) -> str:
    return f"--method pretrain {SMALL} --data_dir {place.tmp / 'empty'}"


@case("no label file")
def _(place: Place) -> str:
    (place.own_data() / "metadata.csv").unlink()
    return f"--method pretrain {SMALL}"


def labels(place: Place, old: str, new: str, command: str = f"--method pretrain {SMALL}") -> str:
    """Waterbirds' labels with one text changed."""
    file = place.own_data() / "metadata.csv"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    return command


case("labels without a column")(lambda place: labels(place, "place,", "where,"))
case("a label that is none")(lambda place: labels(place, ".jpg,0,0,0,", ".jpg,2,0,0,"))
case("a row with a field too few")(lambda place: labels(place, ".jpg,0,0,0,", ".jpg,0,0,"))
case("an image in two rows")(lambda place: labels(place, "002.Species/Bird_0002", "001.Species/Bird_0001"))
case("labels in another encoding")(lambda place: labels(place, "img_id", "img_id") and not_utf8(place))


def not_utf8(place: Place) -> str:
    file = place.data / BIRDS / "metadata.csv"
    file.write_bytes(b"\xff\xfe" + file.read_bytes())
    return f"--method pretrain {SMALL}"


@case("ages that a spreadsheet program turned into dates")
def _(place: Place) -> str:
    file = place.own_fairface() / "fairface_label_train.csv"
    file.write_text(file.read_text().replace(",3-9,", ",03-Sep,"))
    return "--method pretrain --dataset fairface"


# A custom folder.


def custom(place: Place, old: str = "", new: str = "", flags: str = "", every: bool = False) -> str:
    """A command on a copy of the hand-made folder whose metadata.csv has one text, or every such text, changed."""
    file = place.own_custom() / "metadata.csv"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, -1 if every else 1))
    return f"--method pretrain --dataset custom --data_dir {file.parent} --model small_cnn --no-pretrained {flags}"


@case("a custom folder without its metadata.csv")
def _(place: Place) -> str:
    command = custom(place)
    (place.data / "my_data" / "metadata.csv").unlink()
    return command


FIRST = "faces/0.jpg,train,Female,Black,20"  # line 2
case("a custom column that is not there")(lambda place: custom(place, flags="--target gender"))
case("a custom column that stands twice")(lambda place: custom(place, ",age", ",target"))
case("a custom column that is meant twice")(lambda place: custom(place, flags="--sensitive target,age"))
case("no name of a custom column")(lambda place: custom(place, flags="--sensitive age,"))
case("a custom row with a field too few")(lambda place: custom(place, FIRST, "faces/0.jpg,train,Female,Black"))
case("a split that is none")(lambda place: custom(place, FIRST, FIRST.replace("train", "dev")))
case("an empty cell")(lambda place: custom(place, FIRST, FIRST.replace("Female", "")))
case("an integer among names")(lambda place: custom(place, FIRST, FIRST.replace("Black", "1")))
case("a custom image in two rows")(lambda place: custom(place, "faces/1.jpg", "faces/0.jpg"))
case("an absolute path in a custom row")(lambda place: custom(place, "faces/0.jpg", "/faces/0.jpg"))
case("a path that leaves the custom folder")(lambda place: custom(place, "faces/0.jpg", "../faces/0.jpg"))
case("a path with backslashes")(lambda place: custom(place, "faces/0.jpg", "faces\\0.jpg"))
case("one target value in all rows")(lambda place: custom(place, "Female", "Male", every=True))
case("custom labels without val rows")(lambda place: custom(place, ",val,", ",train,", every=True))
case("a column with a value for every row")(lambda place: custom(place) and ids(place))
case("a slash in a crossed value")(lambda place: custom(place, "Black", "Black/brown", "--sensitive sensitive,age"))
case("two custom groups of one name")(
    lambda place: custom(place, FIRST, f'{FIRST}\nf,0,"Male, x",y,1\ng,0,Male,"x, y",1')
)
case("a custom image that is missing")(lambda place: custom(place, "faces/0.jpg", "faces/absent.jpg"))
typed("a custom column for another data set", "--method pretrain --dataset celeba --target Smiling")
typed("a name of custom data that is no folder's", "--method pretrain --dataset custom --dataset_name ..")
typed("custom data without groups to forget", "--method miu --dataset custom")


def ids(place: Place) -> str:
    """The command on a table with another target for every row."""
    file = place.data / "my_data" / "metadata.csv"
    head, *rows = file.read_text().splitlines()
    file.write_text("\n".join([f"{head},id", *(f"{row},{number}" for number, row in enumerate(rows))]) + "\n")
    return f"--method pretrain --dataset custom --data_dir {file.parent} --target id"


typed("a ratio that forgets nobody", f"--method retrain {SMALL} --unlearning_ratio 0.05")

# Deletion requests.


def requested(title: str, text: str, name: str = "requests.txt", more: str = "") -> None:
    """A case of a list with this text."""

    @case(title)
    def _(place: Place) -> str:
        (place.tmp / name).write_text(text)
        return f"--method retrain {SMALL} --forget_list {place.tmp / name} {more}"


BIRD = "{0:03d}.Species/Bird_{0:04d}.jpg".format
MIXED = "\n".join([BIRD(1), BIRD(2), "0", BIRD(61), BIRD(77), *(f"gone{number}.jpg" for number in range(12))])


@case("a forget list that is not there")
def _(place: Place) -> str:
    return f"--method retrain {SMALL} --forget_list {place.tmp / 'absent.txt'}"


requested("a forget list that names nobody", "# none in June\n")
requested("a forget list that is a CSV file without a header", f"{BIRD(1)}\n", "requests.csv")
requested("a forget list with several columns, none of them known", f"ticket,face\n1,{BIRD(1)}\n", "requests.csv")
requested("a column that the forget list does not have", "file\n1\n", "requests.csv", "--forget_list_column image")
requested("names that are unknown, there twice, or not in train", MIXED)
requested("a forget list of unknown names alone", "gone.jpg\n", more="--skip_unknown")
requested("a forget list of all of train", "\n".join(map(BIRD, range(1, 61))))
requested("a ratio of a forget list", BIRD(1), more="--unlearning_ratio 0.5")
requested("a forget list and a group", BIRD(1), more="--split_number 0")

# Images.


def damaged(place: Place, *rows: int) -> list[Path]:
    """Images cut in the middle."""
    files = [place.own_data() / f"{row + 1:03d}.Species/Bird_{row + 1:04d}.jpg" for row in rows[:1]]
    files += [files[0].parents[1] / f"{row + 1:03d}.Species/Bird_{row + 1:04d}.jpg" for row in rows[1:]]
    for file in files:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    return files


@case("a truncated image")
def _(place: Place) -> str:
    damaged(place, 6)
    return f"--method pretrain {SMALL}"


@case("a text file in place of an image")
def _(place: Place) -> str:
    damaged(place, 6)[0].write_text("404: no such file")
    return f"--method pretrain {SMALL}"


@case("an image that is missing")
def _(place: Place) -> str:
    damaged(place, 6)[0].unlink()
    return f"--method pretrain {SMALL}"


@case("several images that cannot be read")
def _(place: Place) -> str:
    damaged(place, 3, 70)[1].unlink()
    return f"--method pretrain {SMALL}"


@case("no image at all")
def _(place: Place) -> str:
    for file in place.own_data().rglob("*.jpg"):
        file.unlink()
    return f"--method pretrain {SMALL}"


@case("a truncated image that nobody checked")
def _(place: Place) -> str:
    damaged(place, 6)
    return f"--method pretrain {SMALL} --no-verify_data"


# Checkpoints and references.

typed("no pretrained model", f"--method salun {SMALL}")


@case("a pretrained model cut in the middle")
def _(place: Place) -> str:
    file = place.own_runs() / PRETRAINED / "model.pt"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    return f"--method salun {SMALL}"


@case("a pretrained model with a payload")
def _(place: Place) -> str:
    poison_torch(place.own_runs() / PRETRAINED / "model.pt", place.trace)
    return f"--method salun {SMALL}"


@case("a pretrained model of another seed")
def _(place: Place) -> str:
    runs = place.own_runs()
    return f"--method salun {SMALL} --seed 1 --original {runs / PRETRAINED}"


@case("a pretrained model with the weights of another network")
def _(place: Place) -> str:
    file = place.own_runs() / PRETRAINED / "model.pt"
    stored = torch.load(file, weights_only=True)
    name = next(iter(stored["model"]))
    torch.save({**stored, "model": {**stored["model"], name: torch.zeros(1)}}, file)
    return f"--method salun {SMALL}"


typed("initial weights that are not there", f"--method pretrain {SMALL} --weights absent.pt")


@case("initial weights with a payload")
def _(place: Place) -> str:
    poison_torch(place.tmp / "weights.pt", place.trace)
    resnet = SMALL.replace("small_cnn", "resnet18").replace("--no-pretrained", "")
    return f"--method pretrain {resnet} --weights {place.tmp / 'weights.pt'}"


@case("a reference that is not there")
def _(place: Place) -> str:
    place.own_runs()
    return f"--method salun {SMALL} --reference {place.tmp / 'absent'}"


@case("a reference whose metrics are damaged")
def _(place: Place) -> str:
    (place.own_runs() / RETRAINED / "metrics.json").write_text('{"test_acc": 5')
    return f"--method salun {SMALL}"


@case("a reference whose records have a payload")
def _(place: Place) -> str:
    poison_npz(place.own_runs() / RETRAINED / "records.npz", place.trace)
    return f"--method salun {SMALL}"


# Run directories.


@case("a saved state with a payload")
def _(place: Place) -> str:
    poison_torch(place.half_finished() / PRETRAINED / "last.pt", place.trace)
    return f"--method pretrain {SMALL}"


@case("a saved state cut in the middle")
def _(place: Place) -> str:
    model = place.half_finished() / PRETRAINED / "model.pt"
    (model.parent / "last.pt").write_bytes(model.read_bytes()[:1000])
    return f"--method pretrain {SMALL}"


@case("a folder that holds another run")
def _(place: Place) -> str:
    place.own_runs()
    return f"--method pretrain {SMALL} --lr 0.5"


@case("a run whose config.yaml has a payload")
def _(place: Place) -> str:
    (place.own_runs() / PRETRAINED / "config.yaml").write_text(poisonous_yaml(place.trace))
    return f"--method pretrain {SMALL}"


@case("files that are no run where its folder should be")
def _(place: Place) -> str:
    (place.store / PRETRAINED).mkdir(parents=True)
    (place.store / PRETRAINED / "holiday.jpg").touch()
    return f"--method pretrain {SMALL}"


@case("a file where the run's folder should be")
def _(place: Place) -> str:
    (place.store / PRETRAINED.parent).mkdir(parents=True)
    (place.store / PRETRAINED).write_text("mine")
    return f"--method pretrain {SMALL}"


@case("a file where the store folder should be")
def _(place: Place) -> str:
    place.store.write_text("mine")
    return f"--method pretrain {SMALL}"


# Permissions.


def forbid(path: Path, mode: int) -> None:
    path.chmod(mode)


@contextlib.contextmanager
def unprivileged(place: Place):
    """Permissions bind."""
    yield


@case("a store folder without leave to write", unprivileged)
def _(place: Place) -> str:
    place.store.mkdir()
    forbid(place.store, 0o555)
    return f"--method pretrain {SMALL}"


@case("a run's folder without leave to write", unprivileged)
def _(place: Place) -> str:
    forbid(place.half_finished() / PRETRAINED, 0o555)
    return f"--method pretrain {SMALL}"


@case("a run's folder without leave to read", unprivileged)
def _(place: Place) -> str:
    forbid(place.own_runs() / PRETRAINED, 0o000)
    return f"--method pretrain {SMALL}"


@case("a run's config.yaml without leave to read", unprivileged)
def _(place: Place) -> str:
    forbid(place.own_runs() / PRETRAINED / "config.yaml", 0o000)
    return f"--method pretrain {SMALL}"


@case("a label file without leave to read", unprivileged)
def _(place: Place) -> str:
    forbid(place.own_data() / "metadata.csv", 0o000)
    return f"--method pretrain {SMALL}"


@case("an image without leave to read", unprivileged)
def _(place: Place) -> str:
    forbid(damaged(place, 6)[0], 0o000)
    return f"--method pretrain {SMALL}"


# Full disks, and a run that fails.


def no_space_for(name: str) -> None:
    case(f"no space for {name}", lambda place: full_disk(name))(lambda place: f"--method pretrain {SMALL}")


for written_file in ("config.yaml", "splits.npz", "history.csv", "last.pt", "model.pt", "records.npz", "metrics.json"):
    no_space_for(written_file)
typed("a learning rate that diverges", f"--method pretrain {SMALL} --lr 1e30 --warmup_epochs 0")

# The report.

case("a report on a folder that is not there")(lambda place: f"report {place.tmp / 'absent'}")
case("a report on a folder without runs")(lambda place: f"report {place.tmp}")


@case("recomputing from records with a payload")
def _(place: Place) -> str:
    runs = place.own_runs()
    poison_npz(runs / RETRAINED / "records.npz", place.trace)
    return f"report {runs} --recompute"


# Running them.


@dataclass(frozen=True)
class Outcome:
    """How a case ended, lines with / between; temporary folders have their names from the page, such as <store>."""

    sentence: str
    code: int


def outcome(title: str, place: Place) -> Outcome:
    """Prepare and run a case."""
    prepare, during = CASES[title]
    command = prepare(place)
    with during(place):
        code, text = _unprivileged(command, place) if during is unprivileged else _run(command, place)
    assert not place.trace.exists(), "a payload was run"
    lines = text.splitlines()
    first = next((number for number, line in enumerate(lines) if line.startswith(("error: ", "not recomputed: "))), 0)
    return Outcome(" / ".join(line.strip() for line in lines[first:]).removeprefix("error: "), code)


def _run(command: str, place: Place) -> tuple[int, str]:
    """Exit code, and standard error with the folders named."""
    if command.startswith("report "):
        err = io.StringIO()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(err):
            code = report.main(command.split()[1:])
        return code, _named(err.getvalue(), place)
    flags = {"data_dir": place.data, "store_dir": place.store, "checkpoint_dir": place.tmp / "checkpoints"}
    result = run(command, **{name: value for name, value in flags.items() if f"--{name}" not in command})
    return result.code, _named(result.err, place)


def _named(text: str, place: Place) -> str:
    names = {place.data: "<data>", place.store: "<store>", place.tmp: "<tmp>", place.shared: "<shared>"}
    for path, name in names.items():
        text = re.sub(re.escape(str(path)) + r"(?![\w-])", name, text)
    return text


class Header(ctypes.Structure):
    """Of capset(2)."""

    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


def _drop_privileges() -> None:
    """An administrator without capabilities: owner of every file here, bound by its permissions."""
    if os.geteuid() == 0:
        header, none = Header(0x20080522, 0), (ctypes.c_uint32 * 6)()
        if ctypes.CDLL(None, use_errno=True).capset(ctypes.byref(header), none):
            raise OSError(ctypes.get_errno(), "capset")


def _unprivileged(command: str, place: Place) -> tuple[int, str]:
    """Run a command in a child without privileges, and make the folder removable again."""
    ends = os.pipe()
    child = os.fork()
    if child == 0:
        with os.fdopen(ends[1], "w") as pipe:
            try:
                _drop_privileges()
                torch.set_num_threads(1)
                pipe.write(json.dumps(_run(command, place)))
            except BaseException as error:
                pipe.write(json.dumps([-1, f"error: {error!r}"]))
        os._exit(0)
    os.close(ends[1])
    with os.fdopen(ends[0]) as pipe:
        code, text = json.loads(pipe.read())
    os.waitpid(child, 0)
    for path in [place.tmp, *place.tmp.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    return code, text


# The page.


def row(number: int, title: str, found: Outcome) -> str:
    """A row of the table."""
    sentence = found.sentence.replace("|", "\\|").replace("`", "'")
    return f"| {number} | {title} | `{sentence}` | {found.code} |"


def rows_on_page() -> dict[str, str]:
    """The rows of the page, by title."""
    table = PAGE.read_text().split(BEGIN)[1].split(END)[0]
    rows = [line for line in table.splitlines() if re.match(r"\| \d", line)]
    return {line.split(" | ")[1]: line for line in rows}


def write_page() -> None:
    """Run every case and put its row on the page."""
    with tempfile.TemporaryDirectory() as folder:
        shared, rows = make_shared(Path(folder) / "shared"), []
        for number, title in enumerate(CASES, 1):
            place = Place(Path(folder) / f"case{number}", shared)
            place.tmp.mkdir()
            rows.append(row(number, title, outcome(title, place)))
    before, rest = PAGE.read_text().split(BEGIN)
    table = "\n".join(["| | what was done | the sentence | exit code |", "|---|---|---|---|", *rows])
    PAGE.write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    write_page()
    sys.exit(0)
