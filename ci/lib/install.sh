# Sourced by other scripts: installs missing programs.

# install_if_missing PROGRAM PACKAGE: installs a Debian package unless its program is
# installed, as root or with sudo. Without apt, it names the package and fails.
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
    # Keeps the packages from starting services on the default ports; tests start their own.
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get install -y -qq --no-install-recommends "$package" >/dev/null
}

HELM_VERSION=v4.3.0
declare -A HELM_SHA256=(
    [amd64]=86584a54def73570558f66f5111cc53dfed56689637ae32c1201205d494f54fb
    [arm64]=31c5794dd55c66a51e6b7d2e2ac7a114ae8b1de41ff1d9ba51748ac973b06a08
)

# install_helm FOLDER: unless Helm is installed, downloads it to FOLDER, because Debian has
# no package, and adds FOLDER to the PATH. HELM_MIRROR overrides the source.
install_helm() {
    local folder=$1
    if type -P helm >/dev/null; then
        return
    fi
    mkdir -p "$folder"
    folder=$(cd "$folder" && pwd)
    PATH="$folder:$PATH"
    if type -P helm >/dev/null; then
        return
    fi
    local arch
    case $(uname -m) in
        x86_64) arch=amd64 ;;
        aarch64) arch=arm64 ;;
        *)
            echo "helm is missing: install version $HELM_VERSION, of which there is none pinned for $(uname -m)" >&2
            return 1
            ;;
    esac
    install_if_missing curl curl
    echo "installing helm $HELM_VERSION"
    local tarball="$folder/helm.tar.gz" status=0
    curl --fail --silent --show-error --location --retry 3 --output "$tarball" \
        "${HELM_MIRROR:-https://get.helm.sh}/helm-$HELM_VERSION-linux-$arch.tar.gz" &&
        echo "${HELM_SHA256[$arch]}  $tarball" | sha256sum --check --quiet &&
        tar --extract --gzip --file "$tarball" --directory "$folder" --strip-components=1 "linux-$arch/helm" ||
        status=$?
    rm -f "$tarball"
    return "$status"
}

# install_python_packages FOLDER REQUIREMENTS: creates a virtual environment with pinned
# packages, and creates it again when the requirements change.
install_python_packages() {
    local folder=$1 requirements=$2
    if cmp -s "$requirements" "$folder/requirements.txt"; then
        return
    fi
    install_if_missing python3 python3
    if ! python3 -c 'import ensurepip' 2>/dev/null; then
        # There is no program of that name; only the module is missing.
        install_if_missing python3-venv python3-venv
    fi
    rm -rf "$folder"
    python3 -m venv "$folder"
    "$folder/bin/pip" install --quiet --requirement "$requirements"
    cp "$requirements" "$folder/requirements.txt"
}

# install_node_packages FOLDER PACKAGES: installs the packages of package-lock.json in the
# folder PACKAGES, and installs them again when that file changes. Programs of packages do
# not run.
install_node_packages() {
    local folder=$1 packages=$2
    if cmp -s "$packages/package-lock.json" "$folder/node_modules/installed.json"; then
        return
    fi
    install_if_missing node nodejs
    install_if_missing npm npm
    mkdir -p "$folder"
    cp "$packages/package.json" "$packages/package-lock.json" "$folder"
    npm ci --prefix "$folder" --ignore-scripts --no-audit --no-fund --loglevel=error
    cp "$packages/package-lock.json" "$folder/node_modules/installed.json"
}
