"""What each figure shows, drawn into matplotlib's axes; plots.js draws the same into the page."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from method.runs.originals import NAME
from scripts.report.look import LOOK, PASSES, in_words
from scripts.report.view import View, average_accuracy, compute_shares, epochs, last_epoch
from utils.tables import is_number, one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = {"circle": "o", "diamond": "D", "square": "s", "triangle": "^"}
OFFSET = 0.26  # between the series of a group, in rows
FEW = 12  # so many groups have room for larger markers
RULE: dict[str, Any] = {"color": "#eeeeee", "linewidth": 0.6, "zorder": 0}


def escape_dollars(text: str) -> str:
    """Text in which a dollar sign does not start mathematics, in one line."""
    return one_line(text).replace("$", r"\$")


def line_look(look: dict[str, Any]) -> dict[str, Any]:
    """A look of LOOK as matplotlib's arguments of a line."""
    dash = look.get("dash", [])
    style = {"color": look["color"], "linestyle": (0, [length / 2 for length in dash]) if dash else "-"}
    return style | ({"marker": MARKERS[look["marker"]]} if "marker" in look else {})


def dot_look(look: dict[str, Any]) -> dict[str, Any]:
    """A look of LOOK as matplotlib's arguments of dots without a line."""
    return {"color": look["color"], "marker": MARKERS[look["marker"]], "linestyle": "none"}


def key_below(figure: "Figure", entries: Iterable[tuple[str, dict[str, Any]]]) -> None:
    """The legend of a whole figure, under it."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles = [
        Patch(label=label, **style) if "facecolor" in style else Line2D([], [], label=label, **style)
        for label, style in entries
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(7, len(handles)))


def look_key(part: str, names: Iterable[str]) -> list[tuple[str, dict[str, Any]]]:
    """Entries of a legend for some looks of a part of LOOK."""
    looks = [LOOK[part][name] for name in names]
    return [(look["label"], bar_look(look) if "hatch" in look else line_look(look)) for look in looks]


def seed_look(view: View, run: dict[str, Any]) -> dict[str, Any]:
    """The look of a run's seed among those of its cell."""
    return LOOK["seeds"][view.runs.index(run) % len(LOOK["seeds"])]


def seed_key(view: View) -> list[tuple[str, dict[str, Any]]]:
    """Entries of a legend for the seeds of a cell."""
    return [(f"seed {run['seed']}", line_look(seed_look(view, run))) for run in view.runs]


def overview_key(table: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Entries of the overview's legend, for the kinds of cells that a table has."""
    kinds = dict.fromkeys(kind(cell) for cell in table["cells"])
    return [(LOOK["kinds"][name]["label"], dot_look(LOOK["kinds"][name])) for name in kinds]


def kind(cell: dict[str, Any]) -> str:
    """How a cell is drawn in the overview: as pretrain, reference or competing."""
    if not cell["is_reference"]:
        return "competing"
    return cell["method"] if cell["method"] in LOOK["kinds"] else "reference"


def bar_look(look: dict[str, Any]) -> dict[str, Any]:
    """A look of LOOK as matplotlib's arguments of bars."""
    edges = {"edgecolor": "white", "hatch": "/////"} if look["hatch"] else {}
    return {"facecolor": look["color"], "linewidth": 0, **edges}


def order_rows_downwards(axes: "Axes", labels: Sequence[str]) -> None:
    """Give axes a row for each label, the first on top."""
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_yticks(range(len(labels)), [escape_dollars(label) for label in labels])
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")


def draw_overview(axes: "Axes", table: dict[str, Any], column: dict[str, Any]) -> None:
    """Mean and sample standard deviation over the seeds of one column, a row a cell."""
    key, scale = column["key"], column.get("scale", 1)
    order_rows_downwards(axes, [cell["label"] for cell in table["cells"]])
    for row, cell in enumerate(table["cells"]):
        if cell["n"].get(key):
            deviation = scale * (cell["sd"].get(key) or 0)
            axes.errorbar(scale * cell["mean"][key], row, xerr=deviation or None, **dot_look(LOOK["kinds"][kind(cell)]))
    axes.set_title(escape_dollars(column["title"]))
    axes.set_xlabel(escape_dollars(f"{column['title']} ({column['unit']})" if column["unit"] else column["title"]))


def draw_groups(axes: "Axes", view: View, rows: Sequence[dict[str, Any]]) -> None:
    """Test accuracy of every group before, after and retrained, with 95 % intervals, and n."""
    partners = view.partners()
    order_rows_downwards(axes, [f"{row['name']} (forget)" if row["forget"] else row["name"] for row in rows])
    axes.hlines([number + 0.5 for number in range(len(rows) - 1)], 0, 1, **RULE, transform=axes.get_yaxis_transform())
    for number, row in enumerate(rows):
        if row["forget"]:
            axes.axhspan(number - 0.5, number + 0.5, color="#fdf3ec", linewidth=0, zorder=0)
        axes.annotate(f"n = {row['n_test']}", (1.01, number), xycoords=("axes fraction", "data"), va="center", size=7)
    for place, (role, runs) in enumerate(partners.items()):
        found = [average_accuracy(runs, row["name"]) for row in rows]
        shift = (place - (len(partners) - 1) / 2) * OFFSET
        _interval_dots(axes, found, shift, LOOK["roles"][role], 4 if len(rows) <= FEW else 3)
    axes.set_xlim(right=101)
    over = "; filled: mean over the seeds, open: each" if len(view.runs) > 1 else ""
    named = "; before: found by name" if any(run.get("original_by") == NAME for run in view.runs) else ""
    axes.set_xlabel(f"test accuracy (%), with 95 % intervals{over}{named}")


def _interval_dots(axes: "Axes", found: Sequence[Any], shift: float, look: dict[str, Any], size: float) -> None:
    """One series of `groups`: what `accuracy` gives for every row, `shift` rows below its middle."""
    rows = [(number + shift, own) for number, own in enumerate(found) if own]
    held = [(height, *own["interval"]) for height, own in rows if own["interval"]]
    if held:
        axes.hlines(*zip(*held, strict=True), color=look["color"], linewidth=1)
    each = [(value, height) for height, own in rows if len(own["each"]) > 1 for value in own["each"]]
    if each:
        small: dict[str, Any] = {"marker": "o", "linestyle": "none", "markersize": 2, "markerfacecolor": "white"}
        axes.plot(*zip(*each, strict=True), color=look["color"], markeredgewidth=0.5, **small)
    axes.plot([own["value"] for _, own in rows], [height for height, _ in rows], **dot_look(look), markersize=size)


def draw_counts(axes: "Axes", rows: Sequence[dict[str, Any]]) -> None:
    """Training samples of every group: forgotten and retained."""
    order_rows_downwards(axes, [f"{row['name']} (forget)" if row["forget"] else row["name"] for row in rows])
    forgotten, retained = [row["n_forget"] for row in rows], [row["n_retain"] for row in rows]
    axes.barh(range(len(rows)), forgotten, height=0.6, **bar_look(LOOK["counts"]["forgotten"]))
    axes.barh(range(len(rows)), retained, left=forgotten, height=0.6, **bar_look(LOOK["counts"]["retained"]))
    for number, row in enumerate(rows):
        text = f" {row['n_forget']} of {row['n_train']}" if row["n_forget"] else f" {row['n_train']}"
        axes.annotate(text, (row["n_train"], number), va="center", fontsize=7)
    axes.set_xlim(right=1.15 * max(row["n_train"] for row in rows))
    axes.set_xlabel("training samples")


def draw_losses(axes: "Axes", view: View) -> None:
    """Histograms of the loss of the forget, retain, val and test set."""
    histograms = view.histograms()
    edges = histograms[0]["edges"]
    for name, look in LOOK["sets"].items():
        own = compute_shares(histograms, name)
        if own:
            sizes = sorted({sum(histogram[name]) for histogram in histograms})
            n = f"{sizes[0]} to {sizes[-1]}" if len(sizes) > 1 else f"{sizes[0]}"
            axes.stairs(own, edges, label=f"{look['label']} (n = {n})", **line_look(look))
            if name == "forget":
                axes.stairs(own, edges, fill=True, color=look["color"], alpha=0.12)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("log10 of the loss (nats)")
    axes.set_ylabel("share of the set (%)")
    axes.legend()


def draw_curve(axes: "Axes", view: View, key: str) -> None:
    """One column of history.csv over the epochs, a line a seed."""
    for run in view.runs:
        if run.get("history") and key in run["history"]:
            _line(axes, run["history"], key, seed_look(view, run))
    _epochs(axes, in_words(key).partition(" (")[0], in_words(key), last_epoch(view))


def draw_information(axes: "Axes", view: View, name: str, keys: dict[str, str]) -> None:
    """The bounds of both critics in one pass over the epochs, a line a seed; keys: network -> column."""
    for network, key in keys.items():
        for history in view.histories():
            if key in history:
                _line(axes, history, key, LOOK["information"][network])
    _epochs(axes, PASSES.get(name, f"in the {name} pass"), "lower bound (nats)", last_epoch(view))


def _line(axes: "Axes", history: dict[str, list], key: str, look: dict[str, Any]) -> None:
    values = [value if is_number(value) else float("nan") for value in history[key]]
    marked = {"markersize": 3} if len(values) <= 12 else {"marker": None}
    axes.plot(epochs(history), values, **(line_look(look) | marked))


def _epochs(axes: "Axes", title: str, unit: str, last: float) -> None:
    axes.set_title(escape_dollars(title))
    axes.set_xlabel("epoch")
    axes.set_ylabel(escape_dollars(unit))
    axes.locator_params(axis="x", integer=True)
    axes.set_xlim(-0.04 * last, 1.04 * last)
