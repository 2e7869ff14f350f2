"""From a grid to a numbered list of runs: what they need is added, what they share stands once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from method.configs.cli import build_parser, parse
from method.configs.loading import Config
from method.configs.published import translate
from method.configs.schema import all_keys, keys_of
from method.configs.seeds import SEEDS, read_seeds
from method.configs.task import OF_LISTS
from method.registry import METHODS
from method.runs.folder import PRETRAIN, RETRAIN, folder_of
from method.runs.reference import asked_by
from scripts.sweep.grid import CROSSED, TASKS, Grid, Variant
from utils.errors import UserError

STAGES = ("pretrain", "retrain", "unlearn")
# After `--` these would make other runs than the grid's, or none.
NOT_FOR_ALL = {"method", *CROSSED, "reweight", "rob_approach", "ablate_rw", "tag", "wait"}
NOT_FOR_ALL |= {"overwrite", "print_config", "dry_run"}


@dataclass(frozen=True)
class PlannedRun:
    """One run of a sweep. needs: the numbers of the runs that must be done before. added: the grid does not list it."""

    index: int
    arguments: tuple[str, ...]
    config: Config
    folder: Path
    stage: int
    needs: tuple[int, ...]
    added: bool


@dataclass
class _Draft:
    arguments: tuple[str, ...]
    config: Config
    folder: Path
    added: bool
    needs: list["_Draft"] = field(default_factory=list)

    @property
    def stage(self) -> int:
        """0 pretrain, 1 retrain, 2 unlearn; a run that is compared with one of its own kind comes a stage later."""
        method = METHODS[self.config.method]
        own = 2 if method.from_original else int(method.forgets)
        return max([own, *(1 + need.stage for need in self.needs if need.stage >= 1)])


def plan(grid: Grid, extra: Sequence[str] = ()) -> list[PlannedRun]:
    """Every run in dependency order; `extra` is added to every command line. UserError for what cannot be run."""
    planner = _Planner(grid, _checked_extra(extra))
    for point in grid.points:
        for variant in grid.variants:
            planner.add(variant, point, added=False)
    drafts = sorted(planner.drafts.values(), key=lambda draft: draft.stage)
    strangers = set(grid.per_method) - {draft.config.method for draft in drafts}
    if strangers:
        raise UserError(f"{grid.file}, per_method: no run of this grid has the method {', '.join(sorted(strangers))}")
    number = {draft.folder: index for index, draft in enumerate(drafts)}
    return [
        PlannedRun(
            index, draft.arguments, draft.config, draft.folder, draft.stage,
            tuple(sorted(number[need.folder] for need in draft.needs)), draft.added,
        )
        for index, draft in enumerate(drafts)
    ]  # fmt: skip


def _checked_extra(extra: Sequence[str]) -> tuple[str, ...]:
    extra = translate(list(extra))
    found, _ = build_parser().parse_known_args(extra)  # what is unknown is named when the first run is parsed
    wrong = sorted(NOT_FOR_ALL & set(vars(found)))
    if wrong:
        raise UserError(f"--{wrong[0]} cannot be given to every run of a sweep; change the grid instead")
    return tuple(extra)


class _Planner:
    """The runs so far, by folder: two command lines with one folder are one run."""

    def __init__(self, grid: Grid, extra: tuple[str, ...]):
        self.grid, self.extra = grid, extra
        self.given = set(vars(build_parser().parse_known_args(list(extra))[0]))  # these take the place of the grid's
        self.drafts: dict[Path, _Draft] = {}
        self._parsed: dict[tuple[str, ...], Config] = {}

    def add(self, variant: Variant, point: Mapping[str, Any], added: bool) -> _Draft:
        """The run of this method at this point, with the runs that it needs."""
        arguments = self._arguments(variant, point, added)
        config = self._config(arguments)
        folder = folder_of(config, config.store_dir)
        there = self.drafts.get(folder)
        if there is not None:
            self._refuse_another(there, config)
            there.added &= added
            return there
        draft = _Draft(arguments, config, folder, added)
        draft.needs = [self.add(needed, point, added=True) for needed in list_needs(config)]
        self.drafts[folder] = draft
        return draft

    def _arguments(self, variant: Variant, point: Mapping[str, Any], added: bool) -> tuple[str, ...]:
        """The command line, without what does not matter to this run."""
        words = ["--method", variant.method]
        if variant.reweight is not None:
            words.append("--reweight" if variant.reweight else "--no-reweight")
        if variant.rob_approach != "none":
            words += ["--rob_approach", variant.rob_approach]
        flags = self._flags(variant, added)
        if not METHODS[variant.method].from_original:
            point = _settle_seeds(point, METHODS[variant.method].forgets)
        arguments = (*words, *_words({**point, **flags}), *self.extra)
        if METHODS[variant.method].forgets:
            return arguments
        keeps_task = self._config(arguments).needs_task_for_target
        shared = {name: value for name, value in point.items() if name != "unlearning_ratio"}
        shared = {name: value for name, value in shared.items() if keeps_task or name not in TASKS}
        flags = {name: value for name, value in flags.items() if name not in ("original", "reference", *OF_LISTS)}
        return (*words, *_words({**shared, **flags}), *self.extra)

    def _flags(self, variant: Variant, added: bool) -> dict[str, Any]:
        """`set`, `per_method` and `tags` for one method; what is only needed has no --tag: nobody would look for it."""
        method = variant.method
        known, common = keys_of(method), dict(self.grid.common)
        other = [name for name in common if name not in known]
        if other and not added:
            raise UserError(
                f"{self.grid.file}, set: {other[0]} does not apply to {method}; put it under per_method, "
                "below the methods that it is for"
            )
        flags = {**common, **self.grid.per_method.get(method, {})}
        if variant.tag:
            flags |= {**self.grid.tags[variant.tag][method], "tag": variant.tag}
        unwanted = self.given | ({"tag"} if added else set())
        return {name: value for name, value in flags.items() if name in known and name not in unwanted}

    def _config(self, arguments: tuple[str, ...]) -> Config:
        if arguments not in self._parsed:
            try:
                self._parsed[arguments] = parse(list(arguments)).config
            except UserError as error:
                raise UserError(f"{self.grid.file}: {error} (in the run {' '.join(arguments)})") from None
        return self._parsed[arguments]

    def _refuse_another(self, there: _Draft, config: Config) -> None:
        mine, theirs = config.identity(), there.config.identity()
        differing = [key for key in {**mine, **theirs} if mine.get(key) != theirs.get(key)]
        if differing:
            raise UserError(
                f"{self.grid.file}: two runs would have the folder {there.folder} and differ in "
                f"{', '.join(differing)}; give them grids of their own, one of them with a tag"
            )


def list_needs(config: Config) -> list[Variant]:
    """The pretrained run it starts from and the retrained one it is compared with, unless flags name others."""
    needed, asked = [], asked_by(config)
    if METHODS[config.method].from_original and not config.values.get("original"):
        needed.append(Variant(PRETRAIN))
    if asked is not None and not asked.named and not asked.itself:
        needed.append(Variant(RETRAIN, True if asked.reweight else None))
    return needed


def _settle_seeds(point: Mapping[str, Any], forgets: bool) -> dict[str, Any]:
    """A point with the seeds of a model that is trained there: its own is the train seed."""
    seeds = read_seeds({"seed": all_keys()["seed"].default, **point}, forgets).of_model(forgets)
    settled = {name: seeds.run if name == "seed" else value for name, value in point.items() if name not in SEEDS[1:]}
    return settled | seeds.given() | ({"seed": seeds.run} if "train_seed" in point else {})


def _words(flags: Mapping[str, Any]) -> list[str]:
    """Values as they are typed."""
    words = []
    for name, value in flags.items():
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no-{name}")
        else:
            text = "null" if value is None else str(value)
            words += [f"--{name}={text}"] if text.startswith("-") else [f"--{name}", text]
    return words


def select(runs: Sequence[PlannedRun], index: int) -> PlannedRun:
    """The run with this number; UserError where there is none."""
    if not 0 <= index < len(runs):
        raise UserError(f"--index {index}: the runs of this grid have the numbers 0 to {len(runs) - 1}")
    return runs[index]
