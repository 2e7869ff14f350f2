"""Which pretrained run a run started from: by the digest of its weights, else by data, model and seed. No torch."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from method.runs.files import PRETRAIN, RETRAIN
from method.runs.named_files import MARK, ORIGINAL, shorten_digest
from method.runs.stored import StoredRun
from utils.text import for_people

DIGEST, NAME = "digest", "name"


@dataclass(frozen=True)
class Start:
    """The pretrained run that a run started from; of a retrained run, the one that it is shown beside.

    run: None where it is not there. by: DIGEST, NAME, or "" where it is not there. told: what a reader must know of
    it, in words; empty where the digests are equal.
    """

    run: StoredRun | None
    by: str = ""
    told: str = ""


def starts_of(runs: Sequence[StoredRun]) -> dict[StoredRun, Start]:
    """The start of every finished run among `runs` but the pretrained ones."""
    finished = [run for run in runs if not run.problem]
    pretrained = [run for run in finished if run.method == PRETRAIN]
    starts = {run: _start_of(run, pretrained) for run in finished if run.method not in (PRETRAIN, RETRAIN)}
    # A retrained run starts from none: it is shown beside the network that others started from on its forget set.
    beside = {_forget_set(run): start for run, start in starts.items() if start.by == DIGEST}
    for run in finished:
        if run.method == RETRAIN:
            named = next(_of_the_same_name(run, pretrained), None)
            starts[run] = beside.get(_forget_set(run)) or Start(named, NAME if named else "")
    return starts


def _start_of(run: StoredRun, pretrained: Sequence[StoredRun]) -> Start:
    digest, named, same = _recorded_digest(run), run.config.get("original"), list(_of_the_same_name(run, pretrained))
    if digest is not None:
        # The likely ones first: a digest takes a look at all of a file.
        for other in dict.fromkeys([*same, *pretrained]):
            if _is_digest_of(digest, other):
                return Start(other, DIGEST)
    if named:
        told = f"not found: --original names {for_people(named)}, and no pretrained run here has its weights"
        return Start(None, told=told)
    if not same:
        return Start(None, told="not found: no pretrained run of its data, model and seed is here")
    unknown = [other for other in same if digest is None or other.model_sha256 is None]
    if not unknown:
        return Start(None, told="not found: the pretrained run of its data, model and seed has other weights now")
    why = "it recorded no digest of the weights" if digest is None else "the weights are not here to be compared"
    return Start(unknown[0], NAME, f"found by name, as the pretrained run of its data, model and seed; {why}")


def _of_the_same_name(run: StoredRun, pretrained: Iterable[StoredRun]) -> Iterator[StoredRun]:
    return (other for other in pretrained if other.is_plain and other.is_original_of(run))


def _recorded_digest(run: StoredRun) -> str | None:
    """SHA-256 of the weights that it started from, or a mark and the beginning; None where it recorded neither."""
    whole = (run.stored.get("provenance") or {}).get(ORIGINAL)
    short = (run.stored.get("identity") or {}).get("original")
    return whole or (short if str(short).startswith(MARK) else None)


def _is_digest_of(digest: str, run: StoredRun) -> bool:
    own = run.model_sha256
    return own is not None and digest == (shorten_digest(own) if digest.startswith(MARK) else own)


def _forget_set(run: StoredRun) -> tuple:
    return (*run.table, run.seeds.train, run.fingerprint("forget"))
