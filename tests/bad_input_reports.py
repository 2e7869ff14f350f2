"""Bad input: the files of runs that are reported on and recomputed."""

import json
import os

import numpy as np
from bad_input import PRETRAINED, RETRAINED, Place, case

from utils.files import write_text


def metrics(place: Place, **changed: object) -> None:
    file = place.own_runs() / RETRAINED / "metrics.json"
    write_text(file, json.dumps(json.loads(file.read_text()) | changed))


@case("recomputing a run whose metrics hold a text for a number")
def _(place: Place) -> str:
    metrics(place, test_acc="high")
    return f"report {place.store} --recompute"


@case("recomputing a run whose metrics hold a number of 400 digits")
def _(place: Place) -> str:
    metrics(place, seconds=int("7" * 400))
    return f"report {place.store} --recompute"


@case("recomputing a run whose metrics are a named pipe")
def _(place: Place) -> str:
    file = place.own_runs() / RETRAINED / "metrics.json"
    file.unlink()
    os.mkfifo(file)
    return f"report {place.store} --recompute"


@case("recomputing a run whose config.yaml holds a word for the seed")
def _(place: Place) -> str:
    file = place.own_runs() / RETRAINED / "config.yaml"
    write_text(file, file.read_text().replace("seed: 0", "seed: none"))
    return f"report {place.store} --recompute"


@case("recomputing from records whose arrays are a bomb")
def _(place: Place) -> str:
    file = place.own_runs() / RETRAINED / "records.npz"
    np.savez_compressed(file, index=np.zeros(3_000_000, dtype=np.int64))
    return f"report {place.store} --recompute"


@case("recomputing from records that were changed")
def _(place: Place) -> str:
    file = place.own_runs() / RETRAINED / "records.npz"
    with np.load(file) as stored:
        arrays = dict(stored)
    np.savez(file, **arrays | {"loss": arrays["loss"] / 2})
    return f"report {place.store} --recompute"


@case("recomputing with the splits of another run")
def _(place: Place) -> str:
    runs = place.own_runs()
    (runs / RETRAINED / "splits.npz").write_bytes((runs / PRETRAINED / "splits.npz").read_bytes())
    return f"report {place.store} --recompute"
