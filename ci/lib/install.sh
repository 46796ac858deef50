# Sourced by the scripts beside it.

# install_if_missing PROGRAM PACKAGE: installs a Debian package unless its program
# is there. As root or by sudo; without apt it says what to install.
install_if_missing() {
    local program=$1 package=$2
    if [[ -n "$(PATH="$PATH:/usr/sbin:/sbin" type -P "$program")" ]]; then
        return
    fi
    if ! type -P apt-get >/dev/null; then
        echo "$program is missing: install it (in Debian, the package $package)" >&2
        return 1
    fi
    local as_root=()
    if [[ $EUID -ne 0 ]]; then
        as_root=(sudo)
    fi
    if [[ -z "${apt_updated:-}" ]]; then
        "${as_root[@]}" apt-get update -qq
        apt_updated=1
    fi
    echo "installing $package"
    # The packages start services of their own on the usual ports; the tests have theirs.
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get install -y -qq --no-install-recommends "$package" >/dev/null
}
