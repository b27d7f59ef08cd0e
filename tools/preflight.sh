#!/bin/sh
# What a machine needs before make can work: Linux, make, a C compiler, Python >= 3.10 with its headers and venv.
# Silent when all is there. As root on Debian and Ubuntu it installs what is missing; elsewhere it prints the command.
set -eu

PYTHON=${PYTHON:-python3}
CC=${CC:-gcc}
missing=""

die() {
    printf 'preflight: %s\n' "$@" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# The words of $missing, in the package names of the distribution.
packages() {
    for what in $missing; do
        case "$1-$what" in
            *-make) echo make ;;
            apt-compiler) echo gcc libc6-dev ;;
            apk-compiler) echo gcc musl-dev linux-headers ;;
            *-compiler) echo gcc ;;
            pacman-python | pacman-headers | pacman-venv) echo python ;;
            apt-python) echo python3 python3-dev python3-venv ;;
            dnf-python | zypper-python) echo python3 python3-devel ;;
            apk-python) echo python3 python3-dev ;;
            apt-headers) echo "python$version-dev" ;;
            apk-headers) echo python3-dev ;;
            dnf-headers) echo "python$version-devel" ;;
            zypper-headers) echo "python${version%%.*}${version#*.}-devel" ;;
            apt-venv) echo "python$version-venv" ;;
            *-venv) echo "python$version" ;;
        esac
    done | tr '\n' ' '
}

[ "$(uname -s)" = Linux ] || die "ipc-rings works on Linux only (futexes, memfd, lock bytes); this is $(uname -s)."

have make || missing="$missing make"
echo '#include <stdatomic.h>
#include <linux/futex.h>
#include <stdio.h>' | $CC -std=c11 -x c -fsyntax-only - 2>/dev/null || missing="$missing compiler"

if ! have "$PYTHON"; then
    [ "$PYTHON" = python3 ] || die "$PYTHON is not there. Name one that is: make PYTHON=python3"
    missing="$missing python"
else
    facts=$("$PYTHON" -c '
import sys
print("%d.%d" % sys.version_info[:2])
if sys.version_info < (3, 10):
    sys.exit()
import importlib.util, os, sysconfig
print("distribution" if sys.base_prefix == "/usr" else "own")
if not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")):
    print("headers")
if not all(map(importlib.util.find_spec, ("venv", "ensurepip"))):
    print("venv")') || die "$PYTHON does not run. Name one that does: make PYTHON=python3.12"

    # shellcheck disable=SC2086  # one word a line
    set -- $facts
    version=$1
    [ $# -gt 1 ] || die "$PYTHON is Python $version; 3.10 or newer is needed." \
        "Name one, if it is on this machine: make PYTHON=python3.12"
    origin=$2
    shift 2
    [ $# -eq 0 ] || [ "$origin" = distribution ] || die "$PYTHON lacks its $*. Reinstall it, or name another one."
    missing="$missing $*"
fi

[ -n "${missing# }" ] || exit 0

for family in apt dnf zypper pacman apk none; do
    if have "$family" || { [ "$family" = apt ] && have apt-get; }; then break; fi
done
case $family in
    apt) install="apt-get install -y --no-install-recommends" ;;
    dnf) install="dnf install -y" ;;
    zypper) install="zypper install -y" ;;
    pacman) install="pacman -S --needed" ;;
    apk) install="apk add" ;;
    none) die "missing:$missing. Install these with your system's package manager." ;;
esac
wanted=$(packages "$family")

if [ "$(id -u)" -ne 0 ]; then
    die "missing:$missing. Type:" "    sudo $install $wanted"
elif [ "$family" != apt ] || [ -n "${PREFLIGHT_INSTALLED:-}" ]; then
    die "missing:$missing. Type:" "    $install $wanted"
fi

echo "==> preflight: $install $wanted"
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086  # several packages
$install $wanted >/dev/null </dev/null 2>&1 || { apt-get update -qq && $install $wanted >/dev/null; } </dev/null ||
    die "that did not work. Missing:$missing."
PREFLIGHT_INSTALLED=yes exec sh "$0" # look again, and stop if it was not enough
