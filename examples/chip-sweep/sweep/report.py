"""A sweep's results as a page, JSON, CSV, or a plot of area against logic depth."""

import csv
import html
import io
import json
import math
import urllib.parse

COLUMNS = ["cells", "flip_flops", "transistors", "depth", "seconds"]


def as_json(sweep):
    return json.dumps(sweep)


def as_csv(sweep):
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["design", "parameters", *COLUMNS, "error"])
    for row in sweep["rows"]:
        table.writerow([row["design"], parameters_of(row), *(number_of(row, column) for column in COLUMNS), error_of(row)])
    return out.getvalue()


def as_html(sweep):
    head = "<th>design<th>parameters" + "".join(f'<th class="number">{name}' for name in COLUMNS)
    body = "".join(
        f"<tr><td>{html.escape(row['design'])}<td>{html.escape(parameters_of(row))}"
        + (
            f'<td colspan="{len(COLUMNS)}" class="error">{html.escape(error_of(row))}'
            if "error" in row
            else "".join(f'<td class="number">{number_of(row, column)}' for column in COLUMNS)
        )
        for row in sweep["rows"]
    )
    failed = f", {sweep['failed']} failed" if sweep["failed"] else ""
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Chip sweep</title>
<style>
  body {{ font: 14px/1.5 system-ui, sans-serif; max-width: 960px; margin: 24px auto; padding: 0 16px; color: #222 }}
  svg {{ width: 100%; height: auto }}
  table {{ border-collapse: collapse; width: 100% }}
  th, td {{ text-align: left; padding: 3px 8px; border-bottom: 1px solid #e4e4e4 }}
  th {{ position: sticky; top: 0; background: #fff }}
  .number {{ text-align: right; font-variant-numeric: tabular-nums }}
  .error {{ color: #b00020 }}
</style>
<p>{sweep["points"]} points{failed}, {sweep["parallel"]} at the same time, {sweep["seconds"]:.1f} s.
<a download="chip-sweep.csv" href="data:text/csv;charset=utf-8,{urllib.parse.quote(as_csv(sweep))}">CSV</a></p>
{as_svg(sweep)}
<table><thead><tr>{head}</thead><tbody>{body}</tbody></table>
</html>
"""


# The plot. Both axes are logarithmic: a design that doubles with its width is a straight line.

WIDTH, HEIGHT = 960, 600
LEFT, RIGHT, TOP, BOTTOM = 76, 190, 56, 60


def as_svg(sweep):
    series = {}
    for row in sweep["rows"]:
        if "error" not in row and row["depth"] > 0 and row["transistors"] > 0:
            series.setdefault(row["design"], []).append(row)
    # The legend goes from large to small, as the plot does.
    designs = sorted(series, key=lambda design: -max(row["transistors"] for row in series[design]))
    rows = [row for design in designs for row in series[design]]
    x = Axis([row["depth"] for row in rows], LEFT, WIDTH - RIGHT)
    y = Axis([row["transistors"] for row in rows], HEIGHT - BOTTOM, TOP)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
        ' font-family="system-ui, sans-serif" font-size="13" fill="#444">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        text(LEFT, 30, f"Area against logic depth: {len(rows)} points of {len(designs)} designs", size=17, fill="#111"),
    ]
    for value in x.ticks:
        parts.append(line(x.at(value), TOP, x.at(value), HEIGHT - BOTTOM))
        parts.append(text(x.at(value), HEIGHT - BOTTOM + 20, f"{value:,}", anchor="middle"))
    for value in y.ticks:
        parts.append(line(LEFT, y.at(value), WIDTH - RIGHT, y.at(value)))
        parts.append(text(LEFT - 8, y.at(value) + 4, f"{value:,}", anchor="end"))
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 16, "logic depth: gates on the longest path", anchor="middle"))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(
        f'<g transform="rotate(-90 16 {middle})">{text(16, middle + 4, "area: transistors, estimated", anchor="middle")}</g>'
    )

    for index, design in enumerate(designs):
        colour, shape = COLOURS[index % len(COLOURS)], SHAPES[index % len(SHAPES)]
        for curve in curves_of(series[design]):
            path = " ".join(f"{x.at(row['depth']):.1f},{y.at(row['transistors']):.1f}" for row in curve)
            parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.2" opacity="0.35"/>')
        for row in series[design]:
            told = f"{design} {parameters_of(row)}: {row['transistors']:,} transistors, depth {row['depth']}"
            parts.append(mark(shape, colour, x.at(row["depth"]), y.at(row["transistors"]), told))
        parts.append(mark(shape, colour, WIDTH - RIGHT + 26, TOP + 12 + 24 * index, design))
        parts.append(text(WIDTH - RIGHT + 40, TOP + 16 + 24 * index, design, fill="#222"))
    return "\n".join([*parts, "</svg>"])


class Axis:
    """A logarithmic scale from pixel `start` to pixel `end` that holds all values, with ticks at 1, 2 and 5."""

    def __init__(self, values, start, end):
        low, high = (min(values), max(values)) if values else (1, 10)
        self.low, self.high = math.log10(low / 1.25), math.log10(high * 1.25)
        self.start, self.end = start, end
        decades = range(math.floor(self.low), math.ceil(self.high))
        steps = (1, 2, 5) if self.high - self.low < 4 else (1,)
        ticks = [step * 10**decade for decade in decades if decade >= 0 for step in steps]
        self.ticks = [tick for tick in ticks if self.low <= math.log10(tick) <= self.high]

    def at(self, value):
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def curves_of(rows):
    """Points that differ in their last parameter alone; a line through them shows what it does."""
    curves = {}
    for row in rows:
        *others, last = row["parameters"].items() or [("", 0)]
        curves.setdefault((*others, last[0]), []).append(row)
    return [sorted(curve, key=lambda row: list(row["parameters"].values())[-1:]) for curve in curves.values()]


# Colours that also differ for the colour-blind; the shapes differ for all.
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#7b3fa0", "#b8860b", "#2b8cbe", "#c1272d", "#4d4d4d", "#5b8c00"]
SHAPES = [
    "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0z",
    "M-4 -4h8v8h-8z",
    "M0 -5.4L5 3.6H-5z",
    "M0 -5.6L5.6 0L0 5.6L-5.6 0z",
    "M0 5.4L5 -3.6H-5z",
    "M-1.7 -5.2h3.4v3.5h3.5v3.4h-3.5v3.5h-3.4v-3.5h-3.5v-3.4h3.5z",
    "M-5.4 0L3.6 -5V5z",
    "M0 -5.8L1.6 -1.9L5.6 -1.7L2.5 .9L3.5 4.9L0 2.7L-3.5 4.9L-2.5 .9L-5.6 -1.7L-1.6 -1.9z",
    "M5.4 0L-3.6 -5V5z",
    "M-2.7 -4.7h5.4L5.4 0L2.7 4.7h-5.4L-5.4 0z",
]


def mark(shape, colour, x, y, title):
    return (
        f'<path class="mark" transform="translate({x:.1f} {y:.1f})" d="{shape}" fill="{colour}" stroke="#fff"'
        f' stroke-width="0.8"><title>{html.escape(title)}</title></path>'
    )


def line(x1, y1, x2, y2):
    return f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="#e6e6e6"/>'


def text(x, y, content, anchor="start", size=13, fill="#444"):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{fill}">{html.escape(content)}</text>'


def parameters_of(row):
    return " ".join(f"{name}={value}" for name, value in row["parameters"].items())


def number_of(row, column):
    value = row.get(column, "")
    return f"{value:.2f}" if isinstance(value, float) else value


def error_of(row):
    """As compilers say it: file:line: message."""
    error = row.get("error")
    if error is None:
        return ""
    place = f"{error['file']}:{error['line']}: " if error.get("file") else ""
    return place + error["message"]


FORMATS = {
    "html": ("text/html; charset=utf-8", as_html),
    "json": ("application/json", as_json),
    "csv": ("text/csv; charset=utf-8", as_csv),
    "svg": ("image/svg+xml", as_svg),
}
