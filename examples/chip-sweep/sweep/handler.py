"""Sweeps designs over their parameters: calls `chip-synth` for each point, and answers with a plot and a table.

GET: the points of points.json. POST the same form for others; a design that `chip-synth` does not have brings its text:

    {"designs": {"mine": {"WIDTH": [8, 16, 32]}}, "verilog": {"mine": "module mine …"}}

`?format=` is `html` (the default), `json`, `csv` or `svg`.
"""

import asyncio
import itertools
import json
import os
import time

import report
from virga import CallRefused, Response


async def handler(request, context):
    form = request.query.get("format", ["html"])[0]
    if form not in report.FORMATS:
        return {"error": f"format={form} is none of {', '.join(report.FORMATS)}"}, 400
    points = points_of(request.json() if request.method == "POST" else default_points())

    # As many at the same time as there are processors: more instances would only get into each other's way.
    parallel = len(os.sched_getaffinity(0))
    began = time.monotonic()
    left = enumerate(points)
    rows = [None] * len(points)

    async def work():
        for index, point in left:
            rows[index] = await run(point, context)

    await asyncio.gather(*(work() for _ in range(parallel)))
    sweep = {
        "points": len(rows),
        "failed": sum("error" in row for row in rows),
        "parallel": parallel,
        "seconds": time.monotonic() - began,
        "rows": rows,
    }
    context.log.info("%(points)d points, %(failed)d failed, %(parallel)d at the same time, %(seconds).1f s", sweep)
    content_type, write = report.FORMATS[form]
    return Response(write(sweep), content_type=content_type)


async def run(point, context):
    """The point with its results, or with an `error` that says why there are none: the others go on."""
    try:
        answer = await context.call("chip-synth", json=point)
    except CallRefused as error:
        result = {"error": {"message": str(error), "code": error.code}}
    else:
        result = answer.json() if answer.status == 200 else {"error": answer.json()}
    return {"design": point["design"], "parameters": point["parameters"], **result}


def points_of(sweep):
    """Each design at each combination of its parameters' values, in the order that is written."""
    verilog = sweep.get("verilog", {})
    return [
        {
            "design": design,
            "parameters": dict(zip(axes, values)),
            **({"verilog": verilog[design]} if design in verilog else {}),
        }
        for design, axes in sweep["designs"].items()
        for values in itertools.product(*axes.values())
    ]


def default_points():
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "points.json")) as file:
        return json.load(file)

