#!/usr/bin/python3
"""All connections and their processes the way people write it, in Python.

tests/bench/audit measures custom-audit against it. Debian's python3-psutil
belongs to Debian's Python, whatever else is installed.
"""

import psutil

for connection in psutil.net_connections():
    print(connection.pid, connection.status, connection.laddr, connection.raddr)
