"""Bad input: checkpoints, references, run directories, permissions, full disks and reports."""

import torch
from bad_input import PRETRAINED, RETRAINED, SMALL, Place, case, forbid, typed, unprivileged
from bad_input_images import damaged
from cli import with_flags
from damage import full_disk, poison_npz, poison_torch, poisonous_yaml

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


typed("initial weights that are not there", f"--method pretrain {with_flags(SMALL, '--weights absent.pt')}")


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
