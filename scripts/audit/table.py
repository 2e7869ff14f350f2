"""What an audit found, as the report shows it."""

from collections.abc import Iterable, Sequence

from method.runs.audits import Found
from method.runs.labels import label, rank
from method.runs.reference import Asked
from method.runs.stored import StoredRun, find_reference
from scripts.report.collect import FILTERS, Report, Row
from scripts.report.naming import title
from scripts.report.text import audited

NONE_FITS = "Nothing was found out about these runs."


class Rows(Report):
    """A report in which pretrained models have no metrics, whose making takes longer than an audit."""

    def _add_pretrain(self, pretrain: StoredRun, sibling: StoredRun) -> None:
        reference = find_reference(sibling, self.retrained, Asked(reweight=False))
        row = Row(label(pretrain), (*rank(pretrain), 0), pretrain, {}, splits_of=sibling, reference=reference)
        self._place(pretrain, sibling)[sibling.table].append(row)


def as_text(
    runs: Sequence[StoredRun], found: Sequence[Found], tables: Iterable[tuple], by_group: bool, width: int
) -> str:
    """The tables of `found`, with the notes that the report has; width: letters of a line, 0 for any number."""
    report = Rows(runs, dict.fromkeys(FILTERS, ()), [], audits=(found, ()))
    parts = [[title(table), *(audited(report, table, False, width, by_group) or [NONE_FITS])] for table in tables]
    return "\n\n".join("\n\n".join(part) for part in parts)
