#!/bin/bash
# Root's connections the way people write it: ss, and a few processes a line.
# tests/bench/audit measures custom-audit against it.
time=$(date -u +%Y-%m-%dT%H:%M:%SZ)
ss -tnp | grep ESTAB | while read -r _ _ _ local remote users; do
    pid=$(echo "$users" | grep -oP 'pid=\K\d+')
    user=$(ps -o user= -p "$pid")
    [ "$user" = root ] || continue
    process=$(ps -o comm= -p "$pid")
    echo "{\"timestamp\":\"$time\",\"wodle\":\"system-audit\",\"process\":\"$process\",\"pid\":\"$pid\",\"user\":\"$user\",\"local_addr\":\"$local\",\"remote_addr\":\"$remote\"}"
done
