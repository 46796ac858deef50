# Sourced by scripts that need what the workspace compiles to.

TARGET=$(realpath -m "${CARGO_TARGET_DIR:-target}")

# The profile of Cargo.toml for everything that is compiled to be tested.
CHECKS=checks

# build_everything: the programs and the tests of the whole workspace, in one build. A
# build of some packages would select other features of the libraries that they share,
# and compile most of those again.
build_everything() {
    mkdir -p "$TARGET"
    cargo build --profile "$CHECKS" --workspace --all-targets --locked --message-format=json-render-diagnostics >"$TARGET/build.json"
}

# test_programs [FOLDER[:PROGRAM[:FILTER]]...]: the test programs of the last build, of
# all packages or of those in these folders. Prints a line for each: the folder of its
# package, the program, and the filter for its tests.
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
