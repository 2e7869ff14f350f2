"""What page and figures look like: colours of Okabe and Ito, each with a marker or a dash pattern of its own."""

import re
from collections.abc import Sequence
from typing import Any

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"

# Dashes: lengths of line and gap in px; none is a solid line.
LOOK: dict[str, Any] = {
    "roles": {
        "before": {"label": "before (pretrained)", "color": BLUE, "marker": "circle", "dash": []},
        "after": {"label": "after (this run)", "color": VERMILLION, "marker": "diamond", "dash": []},
        "retrained": {"label": "retrained (reference)", "color": GREEN, "marker": "square", "dash": []},
    },
    "sets": {
        "forget": {"label": "forget", "color": VERMILLION, "dash": []},
        "retain": {"label": "retain", "color": BLUE, "dash": [7, 3]},
        "val": {"label": "val", "color": PURPLE, "dash": [2, 2]},
        "test": {"label": "test", "color": BLACK, "dash": [8, 2, 2, 2]},
    },
    "information": {
        "model": {"label": "model", "color": VERMILLION, "marker": "diamond", "dash": []},
        "original": {"label": "original", "color": BLUE, "marker": "circle", "dash": [7, 3]},
    },
    "counts": {
        "forgotten": {"label": "forgotten", "color": VERMILLION, "hatch": True},
        "retained": {"label": "retained", "color": SKY, "hatch": False},
    },
    "kinds": {
        "pretrain": {"label": "pretrained", "color": BLUE, "marker": "circle"},
        "reference": {"label": "retrained", "color": GREEN, "marker": "square"},
        "competing": {"label": "unlearned", "color": VERMILLION, "marker": "diamond"},
    },
    "seeds": [
        {"color": color, "dash": dash, "marker": marker}
        for color, dash, marker in (
            (BLUE, [], "circle"),
            (VERMILLION, [7, 3], "diamond"),
            (GREEN, [2, 2], "square"),
            (PURPLE, [8, 2, 2, 2], "triangle"),
            (ORANGE, [12, 3], "circle"),
            (BLACK, [4, 4], "diamond"),
            (SKY, [1, 3], "square"),
        )
    ],
}

# Columns of history.csv that are no curve, and those of the bounds on the mutual information: (pass, network).
NO_CURVE = ("epoch", "seconds")
INFORMATION = re.compile(r"(?:(\w+)_)?mi_(model|original)")
PASSES = {"": "while the critics are tuned", "forget": "on the forget set", "retain": "on the retain set"}


def curve_keys(histories: Sequence[dict[str, list]]) -> list[str]:
    """Losses first, then accuracies, then the rest: what is drawn over the epochs beside mutual information."""
    keys = dict.fromkeys(key for history in histories for key in history)
    drawn = [key for key in keys if key not in NO_CURVE and not INFORMATION.fullmatch(key)]
    return sorted(drawn, key=lambda key: (not key.endswith("loss"), not key.endswith("acc")))


def information_keys(histories: Sequence[dict[str, list]]) -> dict[str, dict[str, str]]:
    """The columns of history.csv that bound mutual information: pass -> network -> column."""
    found: dict[str, dict[str, str]] = {}
    for key in dict.fromkeys(key for history in histories for key in history):
        if named := INFORMATION.fullmatch(key):
            found.setdefault(named[1] or "", {})[named[2]] = key
    return found


def in_words(key: str) -> str:
    """The title of a column: val_worst_group_acc as "val worst group accuracy (%)"; losses and rates have no unit."""
    if key == "lr":
        return "learning rate"
    return f"{key[:-4]} accuracy (%)".replace("_", " ") if key.endswith("_acc") else key.replace("_", " ")
