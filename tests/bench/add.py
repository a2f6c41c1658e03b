#!/usr/bin/env python3
"""An active response the way people write it, in Python.

tests/bench/block measures custom-block against it.
"""

import datetime
import json
import os
import subprocess
import sys
from pathlib import Path

os.environ["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LOG = Path("logs/active-responses.log")


def log(message):
    now = datetime.datetime.now().strftime("%Y/%m/%d %H:%M:%S")
    with LOG.open("a") as file:
        file.write(f"{now} active-response/bin/add.py: {message}\n")


def iptables(verb, srcip):
    rule = ["iptables", "-w", verb, "INPUT", "-s", srcip, "-j", "DROP"]
    return subprocess.run(rule, stderr=subprocess.DEVNULL).returncode == 0


def main():
    line = sys.stdin.readline()
    message = json.loads(line)
    srcip = message["parameters"]["alert"]["data"]["srcip"]
    log(line.strip())
    if message["command"] == "add":
        keys = {
            "version": 1,
            "origin": {"name": "add.py", "module": "active-response"},
            "command": "check_keys",
            "parameters": {"keys": [srcip]},
        }
        print(json.dumps(keys), flush=True)
        if json.loads(sys.stdin.readline())["command"] != "continue":
            return 0
        blocked = iptables("-C", srcip) or iptables("-I", srcip)
    else:
        blocked = iptables("-D", srcip)
    return 0 if blocked else 1


sys.exit(main())
