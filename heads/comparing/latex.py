"""A comparison as LaTeX, a table for each layout."""

import math

from heads.comparing.comparison import Comparison
from heads.comparing.layout import METRICS, Layout
from heads.comparing.tables import ordered, percent_of


def latex(found: Comparison) -> str:
    """A table for each layout; the best of each column is bold, random weights have a dagger."""
    return "\n".join(_latex(found, layout) for layout in found.layouts)


def _latex(found: Comparison, layout: Layout) -> str:
    columns = layout.columns
    head = " & ".join(["", *(_escaped(name) for name in columns)])
    lines = [
        rf"\begin{{tabular}}{{l{'c' * len(columns)}}}",
        r"\toprule",
        rf"{head} \\",
        r"\midrule",
    ]
    best = {
        (name, metric): max(
            (layout.cell(one.name, name, metric).value for one in found.entries if not one.random),
            default=math.nan,
        )
        for name in columns
        for metric in METRICS
    }
    for one in ordered(found, layout):
        cells = []
        for name in columns:
            pair = []
            for metric in METRICS:
                cell = layout.cell(one.name, name, metric)
                bold = not one.random and cell.value == best[name, metric]
                number = percent_of(cell)
                pair.append(rf"\textbf{{{number}}}" if bold else number)
            cells.append(" / ".join(pair))
        mark = r"$^\dagger$" if one.random else ""
        lines.append(rf"{_escaped(one.name)}{mark} & {' & '.join(cells)} \\")
    note = (
        f"% {layout.title}: accuracy / AUC in percent, {len(found.judged.ids)} videos, means over "
        f"{max(len(one.runs) for one in found.entries)} seeds; dagger: random weights"
    )
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", note, ""])


def _escaped(text: str) -> str:
    for sign in "\\_&%#$":
        text = text.replace(sign, r"\textbackslash{}" if sign == "\\" else rf"\{sign}")
    return text
