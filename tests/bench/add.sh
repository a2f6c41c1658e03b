#!/bin/sh
# An active response the way people write it: jq for the line, iptables for the
# block. tests/bench/block measures custom-block against it.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LOG=logs/active-responses.log

read -r INPUT
COMMAND=$(echo "$INPUT" | jq -r .command)
SRCIP=$(echo "$INPUT" | jq -r .parameters.alert.data.srcip)
echo "$(date '+%Y/%m/%d %H:%M:%S') active-response/bin/add.sh: $INPUT" >>"$LOG"

case $COMMAND in
add)
    printf '{"version":1,"origin":{"name":"add.sh","module":"active-response"},"command":"check_keys","parameters":{"keys":["%s"]}}\n' "$SRCIP"
    read -r ANSWER
    [ "$(echo "$ANSWER" | jq -r .command)" = continue ] || exit 0
    iptables -w -C INPUT -s "$SRCIP" -j DROP 2>/dev/null || iptables -w -I INPUT -s "$SRCIP" -j DROP
    ;;
delete)
    iptables -w -D INPUT -s "$SRCIP" -j DROP
    ;;
esac
