# shellcheck shell=sh
# Installing what is missing, for tests/run and tests/demo, which source this.

# The tools of an administrator are not in every user's PATH.
PATH=$PATH:/usr/sbin:/sbin
export PATH

missing=
yes=

# want COMMAND PACKAGE...: these packages are needed when there is no such command.
want() {
    wanted=$1
    shift
    command -v "$wanted" >/dev/null 2>&1 || missing="$missing $*"
}

# What it takes to become root.
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# Asks, unless --yes was given; installs; says so when it cannot.
install_missing() {
    [ -n "$missing" ] || return 0
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "Not installed:$missing. This is neither Debian nor Ubuntu: please install them." >&2
        return 1
    fi
    if [ -z "$yes" ]; then
        if [ ! -t 0 ]; then
            echo "Not installed:$missing. Call again with --yes to install them with apt-get." >&2
            return 1
        fi
        printf 'Not installed:%s. Install with apt-get? [Y/n] ' "$missing"
        read -r answer
        case $answer in
        '' | [Yy]*) ;;
        *) return 1 ;;
        esac
    fi
    # The lists of a fresh machine are empty or old.
    as_root apt-get -q -o Acquire::Retries=5 update >&2 || true
    # shellcheck disable=SC2086 # one word each
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Acquire::Retries=5 -o DPkg::Lock::Timeout=300 \
        --no-install-recommends install $missing >&2
}

# What building takes besides Rust itself.
want_compiler() {
    if ! command -v cargo >/dev/null 2>&1; then
        echo "cargo is not installed: see https://rustup.rs" >&2
        return 1
    fi
    want cc gcc libc6-dev
    want musl-gcc musl-tools
}
