# Sourced by scripts that need what the workspace compiles to.

TARGET=$(realpath -m "${CARGO_TARGET_DIR:-target}")

# build_everything: the programs and the tests of the whole workspace, in one build. A
# build of some packages would select other features of the libraries that they share,
# and compile most of those again.
build_everything() {
    mkdir -p "$TARGET"
    cargo build --workspace --all-targets --locked --message-format=json-render-diagnostics >"$TARGET/build.json"
}

# test_programs [FOLDER...]: of the last build, a line for each test program: the folder
# of its package, and the program. Of all packages, or of those in these folders.
test_programs() {
    local folders
    folders=$(printf '|%s' "$@")
    sed -nE 's|^.*"manifest_path":"([^"]+)/Cargo\.toml".*"profile":\{[^}]*"test":true\}.*"executable":"([^"]+)".*$|\1 \2|p' "$TARGET/build.json" |
        grep -E "(${folders#|}) " || { echo "the build has no test programs in $*" >&2; return 1; }
}
