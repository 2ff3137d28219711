"""Runs inside the sandbox: a native program as an OpenWhisk action. A process for each call: the arguments as JSON, as its only
argument and on its standard input; the last line that it prints is the result, the others are log lines."""

import json
import os
import shutil
import stat
import subprocess
import sys

ROOT = os.path.dirname(os.path.abspath(__file__))
RUN_TYPE = "application/vnd.openwhisk.run+json"
JSON_HEADERS = {"content-type": "application/json"}
# What Linux takes as one argument.
LONGEST_ARGUMENT = 128 * 1024

program = None


def handler(request, context):
    value = json.loads(request.text() or "{}")
    environment = dict(os.environ)
    if request.headers.get("content-type") == RUN_TYPE:
        about = value
        value = about.pop("value")
        environment.update(about.pop("env", {}))
        environment.update(("__OW_" + key.upper(), about[key]) for key in about)
    text = json.dumps(value)
    arguments = [text] if len(text.encode()) < LONGEST_ARGUMENT else []
    try:
        ran = subprocess.run(
            [_program()] + arguments, input=text.encode(), stdout=subprocess.PIPE, env=environment, cwd=ROOT
        )
    except OSError as error:
        return _failure("The action did not initialize: %s" % error)
    lines = ran.stdout.decode(errors="replace").splitlines()
    result = lines.pop() if lines else ""
    for line in lines:
        print(line)
    sys.stdout.flush()
    if ran.returncode != 0:
        if result:
            print(result)
        reason = "command not found" if ran.returncode == 127 else "exit code %d" % ran.returncode
        return _failure("The action did not produce a valid response and exited unexpectedly: %s." % reason)
    try:
        is_result = isinstance(json.loads(result), (dict, list))
    except ValueError:
        is_result = False
    if not is_result:
        return _failure("The action did not return a dictionary or array: %s" % result[:200])
    return result, 200, JSON_HEADERS


def _program():
    global program
    if program is None:
        path = os.path.join(ROOT, "exec")
        if not os.path.exists(path):
            raise OSError("there is no program named exec in the archive")
        if not os.access(path, os.X_OK):
            # An archive made elsewhere has lost what makes it a program.
            path = shutil.copy(path, "/tmp/exec")
            os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)
        program = path
    return program


def _failure(message):
    return json.dumps({"error": message}), 502, JSON_HEADERS
