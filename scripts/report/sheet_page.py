"""The audit sheet as a page that needs nothing beside it, section by section, and the files that lie beside it."""

import re
from collections.abc import Sequence
from pathlib import Path

from method.runs.files import RETRAIN
from method.runs.labels import paper_name
from scripts.report.audit import TITLE
from scripts.report.naming import without_paths
from scripts.report.sheet import AFTER, Sheet, command, describe_method
from scripts.report.sheet_harm import LONGEST_TABLE, groups_csv, harm
from scripts.report.sheet_html import as_pdf, bullets, facts, paragraph, section, table, text
from scripts.report.sheet_request import OUTCOMES, keyed_digest
from utils.files import write_atomic, write_text
from utils.tables import HOLE

TEMPLATE = Path(__file__).with_name("sheet.html")
LONGEST_LIST = 5  # groups named in a sentence
NO_DATE = "Date of the run: not known (its log is not here)."
VERSIONS = ("python", "torch", "numpy", "machine", "device", "precision", "threads", "world_size")
LIMITS = (
    "<b>Unlearning here is approximate.</b> The model was changed so that it behaves as if those images had not been"
    " in its training. That is measured above, and not proved: nothing guarantees that no trace of them is left in the"
    " weights.",
    "<b>The attack is an average one.</b> It sees the loss alone and is judged over all forgotten images together. A"
    " stronger attack, with models trained for it or with many queries, may find single persons that this one misses.",
    "<b>Only this model.</b> Other copies of the original model, its earlier versions, models made from it, and its"
    " answers that somebody kept still hold what it learned. The digest of the weights before says which one it was.",
    "<b>Not the images.</b> Whether they are gone from the data, caches, backups and other machines is not seen here.",
    "<b>Records remain.</b> The run's own folder holds {names}a line of outputs for each image until somebody deletes"
    " it. Who used the original model before saw what it could tell.",
    "<b>One run, one seed.</b> Another seed gives other numbers. Intervals here are those of test images alone.",
)
EXACT = (
    "<b>Exact for this model alone.</b> It was trained anew without those images, so they are in no weight of it. This"
    " is true as far as the list named every image of theirs; what looks like them and was not named stayed."
)


def write_sheet(sheet: Sheet, file: Path) -> list[Path]:
    """Write the sheet, HTML or PDF by its ending, and beside it what does not fit in it; returns the files written.

    The names with what became of each go to FILE-names.csv, groups that are too many for a page to FILE-groups.csv.
    UserError where a PDF cannot be made.
    """
    beside: dict[Path, str] = {}
    if sheet.request and sheet.request.names:
        beside[file.with_name(f"{file.stem}-names.csv")] = sheet.request.as_csv()
    if sum(not line.is_sum for line in sheet.lines) > LONGEST_TABLE:
        beside[file.with_name(f"{file.stem}-groups.csv")] = groups_csv(sheet)
    text = as_html(sheet, file)
    for name, content_beside in beside.items():
        write_text(name, content_beside)
    if file.suffix.lower() == ".pdf":
        content = as_pdf(text)
        write_atomic(file, lambda stream: stream.write(content))
    else:
        write_text(file, text)
    return [file, *beside]


def as_html(sheet: Sheet, file: Path) -> str:
    """The whole page; file: where it goes, by which what lies beside it is called."""
    run, title = sheet.run, "Audit sheet of an unlearning run"
    date = f"Run ended: {sheet.ended}." if sheet.ended else NO_DATE
    about = f"{run.config['dataset']}, {run.config['model']}, {paper_name(run)}. {date}"
    if sheet.redacted:
        about += " Made from a redacted copy: tokens stand for names."
    body = [
        f"<h1>{title}</h1>",
        f'<p class="about">{text(about)}</p>',
        *section("What was asked", asked(sheet, file)),
        *section("How it was done", done(sheet)),
        *section("What it did to each group", harm(sheet, file)),
        *section("Can it still be told that they were seen?", attack(sheet)),
        *(section(TITLE, audited(sheet)) if sheet.audited else []),
        *section("Which weights", weights(sheet)),
        *section("How to make it again", again(sheet)),
        *section("What this sheet does not prove", [bullets(limits(sheet))]),
    ]
    parts = {"title": title, "body": "\n".join(body)}
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], TEMPLATE.read_text(encoding="utf-8"))


def asked(sheet: Sheet, file: Path) -> list[str]:
    """The request: how many, of which groups, and how somebody who has the list can tell that it is the same."""
    request = sheet.request
    n_forget = int(sheet.metric(AFTER, "n_forget") or 0)
    lines = [("Forgotten", f"{' '.join(sheet.story['request'])}{_further(sheet, n_forget)}")]
    if request is not None:
        told = [f"{request.n:,} names in a list; {request.n_forgotten:,} of them were forgotten"]
        told += [
            f"{len(names):,} {kind.replace('_', ' ')}: {OUTCOMES[kind]}"
            for kind, names in request.left_out.items()
            if names
        ]
        lines = [("Names", "; ".join(told) + "."), *lines, ("Of the groups", _groups_told(sheet))]
        lines += _list_told(sheet, file)
    elif sheet.run.ratio < 1:
        lines.append(("Which", f"drawn by seed {sheet.run.config['seed']}; no list of names was given"))
    if skipped := int(sheet.metric(AFTER, "n_skipped_images") or 0):
        lines.append(("Left out", f"{skipped:,} images of the data could not be read and were in no set"))
    return [facts(lines)]


def _further(sheet: Sheet, n_forget: int) -> str:
    if sheet.request is None or n_forget <= sheet.request.n_forgotten:
        return ""
    further = n_forget - sheet.request.n_forgotten
    return f" {further:,} of them show the same as one that was named, and were forgotten with it."


def _list_told(sheet: Sheet, file: Path) -> list[tuple[str, str]]:
    """The digest of the list, and where its names stand."""
    request = sheet.request
    if sheet.redacted:
        return [("Digest of the list", "none: in a redacted copy tokens stand for the names")]
    if request is None or not request.names:
        return [("Digest of the list", "none: the list is not in this copy of the run")]
    how = "HMAC-SHA-256 of forget_list.txt; its owner has the key, without which nobody can try names against it"
    return [
        ("Digest of the list", f"{keyed_digest(request, sheet.run.folder)} ({how})"),
        ("Name by name", f"in {file.stem}-names.csv, which is no part of this sheet"),
    ]


def _groups_told(sheet: Sheet) -> str:
    lines = sorted((line for line in sheet.lines if line.n_forget and not line.is_sum), key=lambda line: -line.n_forget)
    return (
        f"{_listed([f'{line.name}: {line.n_forget:,} of {line.n_train:,}' for line in lines], '; ')}."
        if lines
        else HOLE
    )


def _listed(names: Sequence[str], between: str = ", ") -> str:
    further = len(names) - LONGEST_LIST
    return between.join(names[:LONGEST_LIST]) + (f" and {further} more groups" if further > 0 else "")


def done(sheet: Sheet) -> list[str]:
    """The method in a sentence, with its paper, and what it cost."""
    what, paper = describe_method(sheet.run)
    reweighted = "What is kept was drawn so that every group keeps the share that it had (REWEIGHT)."
    name = paper_name(sheet.run)
    sentences = [f"{name}: {what}", reweighted if sheet.run.config.get("reweight") else ""]
    return [
        paragraph(*sentences),
        paragraph(f"Source: {paper}" if paper else "" if sheet.is_exact else "Its file names no paper."),
        paragraph(*sheet.story["cost"]),
    ]


def attack(sheet: Sheet) -> list[str]:
    """Whether a membership attack tells the forgotten images from such that no model has seen."""
    people = {who: row for who, row in sheet.partners.items() if row is not None}
    rows = []
    for key, what in (
        ("mia_auc", "against held-out images of any group"),
        ("mia_group_auc", "against held-out images of the forgotten groups"),
    ):
        rows.append(("one", [text(what), *(_attack_cell(sheet, who, key) for who in people)]))
    n, reasons = int(sheet.metric(AFTER, "n_forget") or 0), sheet.row.values.get("reasons") or {}
    holes = dict.fromkeys(without_paths(str(reasons[key])) for key in ("mia_auc", "mia_group_auc") if reasons.get(key))
    return [
        paragraph(*sheet.story["attack"]),
        paragraph(
            "A guesser sees the model's loss on an image and says whether the model was trained on it. The number is"
            f" its AUC in percent, over {n:,} forgotten images and as many held-out ones: 50 is guessing, 100 is"
            " certain. What counts is the retrained model, which was not trained on them: after unlearning it should be"
            " that number."
        ),
        table(["AUC of the attack", *people], rows, "attack"),
        paragraph(
            "± : standard deviation over five draws of the held-out images, not over seeds.",
            f"A dash: {'; '.join(holes)}." if holes else "",
            kind="note",
        ),
    ]


def _attack_cell(sheet: Sheet, who: str, key: str) -> str:
    value, deviation = sheet.metric(who, key), sheet.metric(who, f"{key}_sd")
    if value is None:
        return HOLE
    return f"{value:.1f}" + (f" ± {deviation:.1f}" if deviation is not None else "")


def audited(sheet: Sheet) -> list[str]:
    """What an audit found, a sentence a question."""
    return [
        bullets(f"<b>{text(one.question)}</b> {text(one.text)}" for one in sheet.audited),
        paragraph(
            "A number of several runs is of the method with these settings, not of this run alone. The report has all"
            " numbers, and what each cannot tell.",
            kind="note",
        ),
    ]


def weights(sheet: Sheet) -> list[str]:
    """SHA-256 of the files before and after."""
    return [
        facts(
            [
                (f"SHA-256 {who}", f"{digest} ({told})" if digest else told)
                for who, (digest, told) in sheet.weights().items()
            ]
        )
    ]


def again(sheet: Sheet) -> list[str]:
    """Versions, machine, commit and command."""
    run = sheet.run
    provenance = run.stored.get("provenance") or {}
    known = [
        f"{name.replace('_', ' ')} {provenance[name]}" for name in VERSIONS if provenance.get(name) not in (None, "")
    ]
    commit = str(provenance.get("commit") or "not known")
    edited = {True: ", with edited files", False: "", None: ""}[provenance.get("dirty")]
    fingerprint = run.fingerprint("data")
    lines = [
        ("Command", command(run)),
        ("Starts from", "the original model of the same data, model and seed, made before"),
        ("Commit", f"{commit}{edited}"),
        ("Made with", ", ".join(known) or "not recorded"),
        ("Data", f"fingerprint {fingerprint or 'not recorded'} (SHA-256 of names, labels and splits)"),
        ("Everything else", "every value with its source, in config.yaml of the run's folder"),
    ]
    return [facts([line for line in lines if line[0] != "Starts from" or run.method != RETRAIN])]


def limits(sheet: Sheet) -> list[str]:
    """What nobody should read into the sheet, as HTML."""
    names = "the names and " if sheet.request else ""
    told = [limit.format(names=names) for limit in LIMITS]
    return [EXACT, *told[1:]] if sheet.is_exact else told
