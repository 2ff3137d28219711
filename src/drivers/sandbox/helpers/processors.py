"""Sets on which processors threads may run, as the server says line by line.

{"processors": [0, 1], "threads": "main" | "all", "group": path of a cgroup.procs | "pid": number}
"""

import json
import os
import signal
import sys


def threads_of(order):
    if "pid" in order:
        pids = [order["pid"]]
    else:
        with open(order["group"]) as group:
            pids = [int(line) for line in group]
    for pid in pids:
        if order["threads"] == "main":
            yield pid
        else:
            yield from (int(name) for name in os.listdir(f"/proc/{pid}/task"))


def main():
    # It ends with its input, behind the server.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for line in sys.stdin:
        order = json.loads(line)
        try:
            for thread in threads_of(order):
                try:
                    os.sched_setaffinity(thread, order["processors"])
                except (ProcessLookupError, PermissionError):
                    pass
        except FileNotFoundError:
            pass  # The program has ended.


main()
