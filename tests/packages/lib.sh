# shellcheck shell=sh
# For the scripts beside it, which run in namespaces of their own (see run) and
# look at a host in $root from outside: what is there, the kernel and the tools of
# this machine say, not the programs that are tested.

step() { printf '   %s\n' "$*"; }

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# inside COMMAND...: on that host, with nothing to answer questions.
inside() {
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
        chroot "$root" "$@" </dev/null >"$logs/output" 2>&1 || {
        cat "$logs/output" >&2
        fail "$* (exit code above 0)"
    }
}

# said TEXT: the last command printed it.
said() { grep -qF -- "$1" "$logs/output" || { cat "$logs/output" >&2; fail "it did not say '$1'"; }; }

# Paths of that host.
is_link() { # PATH TARGET
    [ "$(readlink "$root$1")" = "$2" ] || fail "$1 is not a link to $2: $(ls -l "$root$1" 2>&1)"
}
there() { [ -e "$root$1" ] || [ -L "$root$1" ] || fail "$1 is not there"; }
gone() { if [ -e "$root$1" ] || [ -L "$root$1" ]; then fail "$1 is still there"; fi; }
has() { grep -qF -- "$2" "$root$1" || fail "$1 has no '$2'"; }
lacks() { if grep -qF -- "$2" "$root$1"; then fail "$1 has '$2'"; fi; }
owned() { # PATH OWNER:GROUP MODE
    found=$(inside_stat "$1")
    [ "$found" = "$2 $3" ] || fail "$1 is $found instead of $2 $3"
}
inside_stat() { env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$root" stat -c '%U:%G %a' "$1"; }

# The kernel, asked with this machine's nft.
blocked() { nft list table inet wazuh_block 2>/dev/null | grep -qwF "$1"; }
is_blocked() { blocked "$1" || fail "the kernel does not block $1"; }
nothing_blocked() {
    if nft list tables | grep -q wazuh_block; then fail "the kernel still has the table wazuh_block"; fi
}

# The user of custom-webhook: of the system, without a home, a shell or a password.
has_user() {
    if ! grep -qE '^wazuh-webhook:x:[0-9]{1,3}:[0-9]{1,3}:[^:]*:/nonexistent:/usr/sbin/nologin$' "$root/etc/passwd" ||
        ! grep -qE '^wazuh-webhook:x:[0-9]{1,3}:$' "$root/etc/group" ||
        ! grep -qE '^wazuh-webhook:[!*]+:' "$root/etc/shadow"; then
        grep wazuh-webhook "$root/etc/passwd" "$root/etc/group" "$root/etc/shadow" >&2 || true
        fail "the user wazuh-webhook is not there, or not as it should be"
    fi
}
has_no_user() {
    if grep wazuh-webhook "$root"/etc/passwd "$root"/etc/group "$root"/etc/shadow "$root"/etc/gshadow; then
        fail "the user wazuh-webhook is still there"
    fi
}

# The receiver where no systemd runs: a configuration with one source, the folders
# as systemd makes them, the daemon as its user. Its secret is as long as it must be.
receiver=
token=0123456789abcdef0123456789abcdef
configure_receiver() {
    printf '[application]\ntoken_files = ["/etc/wazuh-toolkit/application.token"]\n' \
        >>"$root/etc/wazuh-toolkit/custom-webhook.toml"
    echo $token >"$root/etc/wazuh-toolkit/application.token"
    chmod 0400 "$root/etc/wazuh-toolkit/application.token"
    inside chown wazuh-webhook:wazuh-webhook /etc/wazuh-toolkit/application.token
    for folder in var/lib var/log; do
        inside mkdir -p -m 0755 /$folder/wazuh-toolkit
        inside install -d -o wazuh-webhook -g wazuh-webhook -m 0750 /$folder/wazuh-toolkit/custom-webhook
    done
}
start_receiver() {
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        chroot --userspec="$(sed -n 's/^wazuh-webhook:x:\([0-9]*:[0-9]*\):.*/\1/p' "$root/etc/passwd")" --groups= \
        "$root" /usr/lib/wazuh-toolkit/custom-webhook >"$logs/receiver" 2>&1 </dev/null &
    receiver=$!
    tries=0
    until ss -Hltn 'sport = :8787' | grep -q .; do
        tries=$((tries + 1))
        if [ $tries = 100 ] || ! kill -0 $receiver 2>/dev/null; then
            cat "$logs/receiver" >&2
            fail "custom-webhook does not listen"
        fi
        sleep 0.1
    done
}
stop_receiver() {
    kill $receiver
    wait $receiver || { cat "$logs/receiver" >&2; fail "custom-webhook did not end well"; }
}
# An event, posted as its sender would, until its line is there.
events=/var/log/wazuh-toolkit/custom-webhook/events.json
send_event() { # USER
    mkdir -p "$root/packages"
    echo '{"action":"auth_login_failed","level":"warning","user":"'"$1"'","ip_address":"203.0.113.9"}' >"$root/packages/event.json"
    inside custom-webhook send --source application /packages/event.json
    arrives "\"dstuser\":\"$1\""
}
arrives() { # TEXT
    tries=0
    until grep -qF -- "$1" "$root$events" 2>/dev/null; do
        tries=$((tries + 1))
        [ $tries -lt 100 ] || fail "$events has no '$1'"
        sleep 0.1
    done
}

# picture FILE: every file of that host with its kind, owner, mode, target and
# content; of users and groups each line. Not those that package managers keep for themselves, nor the contents
# of what Wazuh's daemons write whenever they are asked something.
picture() {
    find "$root" -xdev \( -path "$root/proc" -o -path "$root/sys" -o -path "$root/dev" -o -path "$root/packages" \
        -o -path "$root/var/lib/dpkg" -o -path "$root/var/lib/apt" -o -path "$root/var/lib/rpm" \
        -o -path "$root/var/log/apt" -o -path "$root/var/log/dpkg.log" -o -path "$root/var/log/alternatives.log" \
        -o -path "$root/var/cache" -o -path "$root/tmp" -o -path "$root/etc/passwd-" -o -path "$root/etc/group-" \
        -o -path "$root/etc/shadow-" -o -path "$root/etc/gshadow-" \) -prune \
        -o -printf '%p %y %U:%G %m %l\n' | sed "s#^$root##" | LC_ALL=C sort >"$1"
    find "$root/etc" "$root/usr" "$root/lib" "$root/var" "$root/root" -xdev -type f \
        ! -path "$root/var/lib/dpkg/*" ! -path "$root/var/lib/apt/*" ! -path "$root/var/lib/rpm/*" \
        ! -path "$root/var/log/*" ! -path "$root/var/cache/*" ! -path "$root/etc/*-" \
        ! -path "$root/var/ossec/logs/*" ! -path "$root/var/lib/logrotate/*" \
        ! -path "$root/etc/passwd" ! -path "$root/etc/group" ! -path "$root/etc/shadow" ! -path "$root/etc/gshadow" \
        -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sed "s#  $root#  #" >>"$1"
    for file in passwd group shadow gshadow; do
        sed "s#^#/etc/$file: #" "$root/etc/$file" >>"$1"
    done
}

# same BEFORE AFTER WHAT
same() {
    diff -u "$1" "$2" >"$logs/diff" || {
        cat "$logs/diff" >&2
        fail "$3"
    }
}
# only_added BEFORE AFTER WHAT: what was there is there, as it was.
only_added() {
    if diff "$1" "$2" | grep '^<' >"$logs/diff"; then
        cat "$logs/diff" >&2
        fail "$3"
    fi
}
