"""Which groups a task forgets, and what the task is called."""

import hashlib
import re
from collections.abc import Sequence
from itertools import product

from datasets.base import GroupDataset
from datasets.labels.spelling import compose, find_spelled_alike, looks_numeric
from utils.errors import UserError

Pair = tuple[int, int]
Table = GroupDataset | type[GroupDataset]
FORM = "expected TARGET:SENSITIVE, with commas between several"
SHOWN = 100  # names in a message
LONGEST = 80  # characters of a folder's name that are made of groups


def forget_groups(
    dataset: Table, split_number: int | None, multi_group: int | None, typed: str | None = None
) -> tuple[Pair, ...]:
    """The (target, sensitive) pairs to forget, sorted.

    `split_number` is one pair (0 where nothing is given); `multi_group` = k crosses the targets and the sensitive
    values of the first k pairs; `typed` is the text of --forget_groups. UserError for two of them together, for what
    the data set has not, and for names where it does not know them.
    """
    given = {"multi_group": multi_group, "split_number": split_number, "forget_groups": typed}
    refuse_two_tasks({name: value for name, value in given.items() if value is not None})
    if typed is not None:
        return _named_pairs(dataset, typed)
    if multi_group is None:
        return (_single_pair(dataset, split_number or 0),)
    if dataset.max_multi_group == 0:
        other = "--split_number" if dataset.forget_pairs else "--forget_groups"
        raise UserError(f"--multi_group {multi_group}: {dataset.name} has no multi-group task; use {other}")
    if not 2 <= multi_group <= dataset.max_multi_group:
        raise UserError(f"--multi_group {multi_group}: {dataset.name} expects 2 to {dataset.max_multi_group}")
    targets, sensitives = zip(*dataset.forget_pairs[:multi_group], strict=True)
    return tuple(sorted(set(product(targets, sensitives))))


def refuse_two_tasks(given: dict[str, object]) -> None:
    """UserError where more than one flag says what to forget."""
    if len(given) > 1:
        first, second, *_ = (f"--{name} {value}" for name, value in given.items())
        raise UserError(f"{first} and {second} both choose what to forget: give one")


def spell_groups(dataset: Table, typed: str) -> str:
    """The text of --forget_groups in the one spelling of its set of groups: by name, in the order of the groups.

    Where only the labels know the names, words stay as they were typed, sorted: only their own spelling is accepted.
    """
    if not _class_has_names(dataset):
        return ", ".join(f"{target}:{sensitive}" for target, sensitive in sorted(set(_typed_pairs(typed))))
    targets, sensitives = dataset.target_names, dataset.sensitive_names
    pairs = _named_pairs(dataset, typed)
    return ", ".join(f"{_word(targets, target)}:{_word(sensitives, sensitive)}" for target, sensitive in pairs)


def task_name(split_number: int | None, multi_group: int | None, groups: str | None = None) -> str:
    """The name of a task in a run's folder: split0, multi3, groups-3-9.White.

    groups: what `spelled` gave. The name ends with a dot and eight digits of the groups' SHA-256 where it does not hold
    all that they say: other characters than letters, digits, - and _, or too many.
    """
    if groups is None:
        return f"split{split_number or 0}" if multi_group is None else f"multi{multi_group}"
    pairs = _typed_pairs(groups)
    slug = "+".join(".".join(re.sub(r"[^A-Za-z0-9_-]", "_", name) for name in pair) for pair in pairs)
    if slug != "+".join(map(".".join, pairs)) or len(slug) > LONGEST:
        slug = f"{slug[:LONGEST]}.{hashlib.sha256(groups.encode()).hexdigest()[:8]}"
    return f"groups-{slug}"


def _single_pair(dataset: Table, split_number: int) -> Pair:
    n_pairs = len(dataset.forget_pairs)
    if n_pairs == 0:
        raise UserError(f"--split_number {split_number}: {dataset.name} has no numbered groups; use --forget_groups")
    if not 0 <= split_number < n_pairs:
        expected = "0" if n_pairs == 1 else f"0 to {n_pairs - 1}"
        raise UserError(f"--split_number {split_number}: {dataset.name} expects {expected}")
    return dataset.forget_pairs[split_number]


def _typed_pairs(typed: str) -> list[tuple[str, str]]:
    """The words of --forget_groups, blanks around them and within them made one, letters composed."""
    pairs = []
    for part in typed.split(","):
        words = tuple(compose(" ".join(word.split())) for word in part.split(":"))
        if len(words) != 2 or not all(words):
            hint = "" if len(words) <= 2 else "; a name that holds a colon or a comma is given by its number"
            raise UserError(f"--forget_groups {typed!r}: {part.strip()!r} is no group, {FORM}{hint}")
        pairs.append(words)
    return pairs


def _named_pairs(dataset: Table, typed: str) -> tuple[Pair, ...]:
    code = _code if _class_has_names(dataset) else _only_code
    pairs = {
        (
            code(dataset.name, "target", dataset.target_names, target),
            code(dataset.name, "sensitive", dataset.sensitive_names, sensitive),
        )
        for target, sensitive in _typed_pairs(typed)
    }
    return tuple(sorted(pairs))


def _class_has_names(dataset: Table) -> bool:
    """Whether words can be made one spelling before the labels are read."""
    kind = dataset if isinstance(dataset, type) else type(dataset)
    return bool(kind.target_names and kind.sensitive_names)


def _code(dataset: str, kind: str, names: Sequence[str], word: str) -> int:
    """The code of a name: as it is written, else as it looks, else the code itself."""
    found = _as_written(names, word) or _as_it_looks(names, word)
    if len(found) == 1:
        return found[0]
    if len(code := _as_code(names, word)) == 1:
        return code[0]
    or_code = f", or a number from 0 to {len(names) - 1}" if _have_codes(names) else ""
    raise UserError(f"--forget_groups: {dataset} has no {kind} {word!r}; expected one of {_listed(names)}{or_code}")


def _only_code(dataset: str, kind: str, names: Sequence[str], word: str) -> int:
    """The code of a name in the only spelling that a run may be named after, which is the labels'.

    That is its code where it cannot stand in a list of groups.
    """
    spellings = [_word(names, code) for code in range(len(names))]
    if word in spellings:
        return spellings.index(word)
    told = [_describe_spelling(one, name) for one, name in zip(spellings, names, strict=True)]
    meant = _as_it_looks(names, word) or _as_code(names, word)
    expected = f"one of {_listed(told)}"
    if len(meant) == 1:
        expected = f"{told[meant[0]]}, in this spelling alone, so that one run has one name"
    raise UserError(f"--forget_groups: {dataset} has no {kind} {word!r}; expected {expected}")


def _describe_spelling(spelling: str, name: str) -> str:
    return spelling if spelling == compose(name) else f"{spelling} (for {name!r})"


def _as_written(names: Sequence[str], word: str) -> list[int]:
    return [code for code, name in enumerate(names) if compose(name) == word]


def _as_it_looks(names: Sequence[str], word: str) -> list[int]:
    return [code for code, name in enumerate(names) if find_spelled_alike({name, word})]


def _as_code(names: Sequence[str], word: str) -> list[int]:
    """The code that a word is; none where names are numbers: 0 must not mean the first of "1" and "2"."""
    is_code = _have_codes(names) and re.fullmatch(r"[0-9]{1,9}", word) and int(word) < len(names)
    return [int(word)] if is_code else []


def _have_codes(names: Sequence[str]) -> bool:
    return not any(map(looks_numeric, names))


def _word(names: Sequence[str], code: int) -> str:
    """A name, or its code where the name cannot stand in a list of groups."""
    name = compose(names[code])
    plain = " ".join(name.split()) == name and not set(name) & {",", ":"}
    return name if plain else str(code)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"
