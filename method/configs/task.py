"""What a run forgets: one of five keys says so, and the others follow."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets.base import GroupDataset
from datasets.deletion.forget_list import list_digest, read_forget_list
from datasets.groups import forget_groups, refuse_two_tasks, spell_groups, task_name
from method.configs.key import SCHEMA
from method.configs.schema import TASK_KEYS, all_keys
from utils.errors import UserError

Layer = Mapping[str, tuple[Any, str]]  # value and source, by key
RANDOM = "random"
OF_LISTS = ("forget_list_column", "skip_unknown")


def settle_task(entries: Layer, dataset: type[GroupDataset], forgets: bool) -> Layer:
    """Add what follows from the task: group 0 where nothing is chosen, one spelling of groups, ratio 1 of a list.

    UserError for two tasks at once, and for a run that forgets and does not say what.
    """
    entries, chosen = dict(entries), _find_chosen(entries)
    refuse_two_tasks(chosen)
    if not chosen and dataset.forget_pairs:
        entries["split_number"] = (0, SCHEMA)
    elif not chosen and forgets:
        raise UserError(
            f"{dataset.name} has no forget groups of its own: say what to forget with --forget_groups TARGET:SENSITIVE,"
            " --forget_list FILE or --unlearning_type random"
        )
    if "forget_groups" in chosen:
        entries["forget_groups"] = (spell_groups(dataset, chosen["forget_groups"]), entries["forget_groups"][1])
    if "forget_list" in chosen:
        entries["unlearning_ratio"] = (_settle_ratio(*entries["unlearning_ratio"]), "--forget_list")
        _refuse_draw(*entries.get("forget_seed", (None, "")))
    else:
        _refuse_flags_of_lists(entries)
    return entries


def check_groups(values: Mapping[str, Any], dataset: type[GroupDataset]) -> None:
    """Raise UserError for groups that the data set has not, as far as its class knows them."""
    given = [values[name] for name in ("split_number", "multi_group")]
    if any(value is not None for value in given):
        forget_groups(dataset, *given)


def read_requests(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Read the names in the forget list; () without one, UserError for one that cannot be read."""
    if values["forget_list"] is None:
        return ()
    return read_forget_list(Path(values["forget_list"]), values["forget_list_column"])


def task_flags(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the flags that say what is forgotten, and their values."""
    keys = all_keys()
    flags = {name: values[name] for name in (*TASK_KEYS, "forget_list_column")}
    ratio = {} if flags["forget_list"] else {"unlearning_ratio": flags["unlearning_ratio"]}
    del flags["unlearning_ratio"]
    return ratio | {name: value for name, value in flags.items() if value and value != keys[name].default}


def name_task(values: Mapping[str, Any], requests: tuple[str, ...]) -> str:
    """Name the task: `split0`, `multi3`, `groups-3-9.White`, `list-1a2b3c4d`, `random`."""
    if requests:
        return f"list-{list_digest(requests)[:8]}"
    if values["unlearning_type"] == RANDOM:
        return RANDOM
    return task_name(values["split_number"], values["multi_group"], values["forget_groups"])


def _find_chosen(entries: Layer) -> dict[str, Any]:
    names = ("multi_group", "split_number", "forget_groups", "forget_list")
    chosen = {name: entries[name][0] for name in names if entries[name][0] is not None}
    kind = entries["unlearning_type"][0]
    return chosen | ({"unlearning_type": kind} if kind == RANDOM else {})


def _settle_ratio(ratio: float, source: str) -> float:
    """Return the ratio of a list, 1; UserError where another was asked for."""
    if ratio != 1 and source != SCHEMA:
        raise UserError(
            f"--unlearning_ratio {ratio} does not apply to --forget_list, all of which is forgotten; leave it out"
        )
    return 1.0


def _refuse_draw(seed: int | None, source: str) -> None:
    if seed is not None:
        raise UserError(
            f"forget_seed {seed} ({source}) does not apply to --forget_list, all of which is forgotten; leave it out"
        )


def _refuse_flags_of_lists(entries: Layer) -> None:
    for name in OF_LISTS:
        if entries[name][0]:
            raise UserError(f"--{name} goes with --forget_list FILE; give that too, or leave it out")
