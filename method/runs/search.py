"""The pretrained and the retrained run of a configuration, looked for where their folders must be."""

from pathlib import Path

from method.configs.loading import Config
from method.registry import METHODS
from method.runs.folder import METRICS, MODEL, PRETRAIN, SOUGHT, RunFolder, folder_of


def find(config: Config, method: str, reweight: bool | None = None) -> tuple[RunFolder | None, list[RunFolder]]:
    """The pretrained or retrained run of `config`: in the checkpoint folder, then in the store folder.

    Returns it, or None, and the folders that were looked into.
    """
    places = [
        RunFolder(folder_of(config, root, method, reweight)) for root in (config.checkpoint_dir, config.store_dir)
    ]
    return next((place for place in places if place.file(SOUGHT[method]).exists()), None), places


def find_original(config: Config) -> Path | None:
    """model.pt of the pretrained run that a search finds; None where the run names its own, or starts from none."""
    if not METHODS[config.method].from_original or config.original:
        return None
    found, _ = find(config, PRETRAIN)
    return found.file(MODEL) if found else None


def find_named_reference(config: Config, name: str | None) -> Path | None:
    """metrics.json of the retrained run of this name beside `config`'s, in the checkpoint or the store folder."""
    folders = (folder_of(config, root).parent for root in (config.checkpoint_dir, config.store_dir))
    files = (folder / name / METRICS for folder in folders) if name else ()
    return next((file for file in files if file.exists()), None)
