# Sourced by scripts that need the compiled programs or tests of the workspace.

TARGET=$(realpath -m "${CARGO_TARGET_DIR:-target}")

# The Cargo profile of all programs that are compiled for tests.
CHECKS=checks

# build_everything: compiles the programs and the tests of the whole workspace in one
# build. A build of some packages would select other features of shared libraries, and
# compile most of them again.
build_everything() {
    mkdir -p "$TARGET"
    cargo build --profile "$CHECKS" --workspace --all-targets --locked --message-format=json-render-diagnostics >"$TARGET/build.json"
}

# test_programs [FOLDER[:PROGRAM[:FILTER]]...]: lists the test programs of the last build,
# of all packages or of those in these folders. Prints one line per program: the folder of
# its package, the program, and the filter for its tests.
test_programs() {
    local all selected wanted folder program filter
    all=$(sed -nE 's|^.*"manifest_path":"([^"]+)/Cargo\.toml".*"profile":\{[^}]*"test":true\}.*"executable":"([^"]+)".*$|\1 \2|p' "$TARGET/build.json")
    if (($# == 0)); then
        echo "$all"
        return
    fi
    for wanted in "$@"; do
        IFS=: read -r folder program filter <<<"$wanted"
        if ! selected=$(grep -E "/$folder .*/${program:-[^/]*}-[0-9a-f]+\$" <<<"$all"); then
            echo "the build has no test program $wanted" >&2
            return 1
        fi
        # No blank at the end: xargs would join such a line with the next one.
        sed "s/\$/${filter:+ $filter}/" <<<"$selected"
    done
}
