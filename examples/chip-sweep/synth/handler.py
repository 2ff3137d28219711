"""Synthesises one design at one parameter point with Yosys, and answers with its area and logic depth.

    {"design": "adder_prefix", "parameters": {"WIDTH": 32}}

The design is the module of that name in rtl/, or in `verilog` where the point brings its own text.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

RTL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "rtl")

# Said at deploy, where the platform starts the function for a trial.
if shutil.which("yosys") is None:
    raise RuntimeError("Yosys is missing on this machine: apt-get install yosys")


def handler(request, context):
    try:
        return synthesise(**request.json())
    except PointError as error:
        return error.description, 422


def synthesise(design, parameters=None, verilog=None):
    parameters = parameters or {}
    check(design, parameters)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        source = design + ".v"
        if verilog is not None:
            source = os.path.join(folder, source)
            with open(source, "w") as file:
                file.write(verilog)
        yosys = subprocess.run(
            ["yosys", "-q", "-p", script(design, parameters, source, folder)],
            cwd=RTL,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        if yosys.returncode != 0:
            raise failure(yosys, folder)
        area, depth = results(folder)
    return {"design": design, "parameters": parameters, **area, "depth": depth, "seconds": time.monotonic() - began}


def script(design, parameters, source, folder):
    """What Yosys is to do; its results become files in `folder`. Relative paths are those from rtl/."""
    return "; ".join(
        [
            f"read_verilog {source}",
            *(f"chparam -set {name} {value} {design}" for name, value in parameters.items()),
            f"hierarchy -libdir . -top {design}",
            "script ../flow.ys",
            f"tee -q -o {folder}/area.json stat -tech cmos -json",
            f"tee -q -o {folder}/depth.txt ltp -noff",
        ]
    )


def results(folder):
    with open(os.path.join(folder, "area.json")) as file:
        total = json.load(file)["design"]
    with open(os.path.join(folder, "depth.txt")) as file:
        length = re.search(r"\(length=(-?\d+)\)", file.read())
    kinds = total["num_cells_by_type"]
    area = {
        "cells": total["num_cells"],
        "flip_flops": sum(count for kind, count in kinds.items() if "DFF" in kind),
        # With a plus behind it where a cell's size is not known: an asynchronous reset, for one.
        "transistors": int(str(total["estimated_num_transistors"]).rstrip("+")),
    }
    return area, max(0, int(length.group(1))) if length else 0


class PointError(Exception):
    """Why there is no result for this point: `message`, and `file` and `line` where Yosys names them."""

    def __init__(self, message, file=None, line=None):
        super().__init__(message)
        self.description = {"message": message, "file": file, "line": line}


def failure(yosys, folder):
    if yosys.returncode < 0:
        return PointError(f"yosys was ended by {signal.Signals(-yosys.returncode).name}")
    said = re.search(r"^(?:(.+):(\d+): )?ERROR: (.*)", yosys.stderr, re.MULTILINE)
    if said is None:
        return PointError(f"yosys ended with code {yosys.returncode}: {yosys.stderr[-1000:]}")
    file, line, message = said.groups()
    # Line 0 is said of what is in no file: a parameter that the module does not have.
    located = file is not None and int(line) > 0
    message = message.replace(folder + "/", "")
    return PointError(message, os.path.basename(file), int(line)) if located else PointError(message)


def check(design, parameters):
    """Names and values become part of a script, so only what can be nothing else passes."""
    for name in (design, *parameters):
        if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
            raise PointError(f"{name!r} is no Verilog name")
    for name, value in parameters.items():
        if type(value) is not int:
            raise PointError(f"{name} is {value!r}; parameters are whole numbers")
