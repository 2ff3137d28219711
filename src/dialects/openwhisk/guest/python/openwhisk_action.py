"""Runs inside the sandbox: an OpenWhisk action as a handler of this platform. `.openwhisk.json` beside it says what the
user's code is: {"entry": "file", "main": "main"}."""

import glob
import importlib.util
import json
import os
import site
import sys
import threading
import traceback

ROOT = os.path.dirname(os.path.abspath(__file__))
RUN_TYPE = "application/vnd.openwhisk.run+json"
JSON_HEADERS = {"content-type": "application/json"}

with open(os.path.join(ROOT, ".openwhisk.json"), encoding="utf-8") as file:
    SETTINGS = json.load(file)

action = None
loading = threading.Lock()


def handler(request, context):
    global action
    text = request.text() or "{}"
    try:
        value = json.loads(text)
    except ValueError as error:
        return _failure(400, "The payload is no JSON: %s" % error)
    if request.headers.get("content-type") == RUN_TYPE:
        about = value
        value = about.pop("value")
        os.environ.update(about.pop("env", {}))
        for key in about:
            os.environ["__OW_" + key.upper()] = str(about[key])
    else:
        os.environ["__OW_ACTIVATION_ID"] = context.id.replace("-", "")
        os.environ["__OW_DEADLINE"] = str(context.deadline)
    if action is None:
        try:
            with loading:
                action = action or _load()
        except BaseException as error:
            traceback.print_exc()
            return _failure(502, "Initialization has failed due to: %s: %s" % (type(error).__name__, error))
    try:
        result = action(value)
    except Exception as error:
        traceback.print_exc()
        return _answer(200, {"error": str(error)})
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    if not isinstance(result, (dict, list)):
        return _failure(502, "The action did not return a dictionary or array.")
    return _answer(200, result)


def _load():
    for folder in glob.glob(os.path.join(ROOT, "virtualenv", "lib", "python*", "site-packages")):
        site.addsitedir(folder)
        sys.path.remove(folder)
        sys.path.insert(0, folder)
    path = os.path.join(ROOT, SETTINGS["entry"])
    if not os.path.exists(path):
        raise RuntimeError("Zip file does not include mandatory files: %s" % SETTINGS["entry"])
    # Not `__main__`: code that is guarded by that name is for the command line.
    spec = importlib.util.spec_from_file_location("__openwhisk_action__", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    found = getattr(module, SETTINGS["main"], None)
    if not callable(found):
        raise RuntimeError("There is no function '%s' in the code" % SETTINGS["main"])
    return found


def _answer(status, value):
    try:
        return json.dumps(value), status, JSON_HEADERS
    except (TypeError, ValueError) as error:
        return _failure(502, "The result cannot be written as JSON: %s" % error)


def _failure(status, message):
    return json.dumps({"error": message}), status, JSON_HEADERS
