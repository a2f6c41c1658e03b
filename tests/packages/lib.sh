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

# picture FILE: every file of that host with its kind, owner, mode, target and
# content. Not those that package managers keep for themselves, nor the contents
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
        ! -path "$root/var/ossec/logs/*" ! -path "$root/var/lib/logrotate/*" -print0 |
        LC_ALL=C sort -z | xargs -0 sha256sum | sed "s#  $root#  #" >>"$1"
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
