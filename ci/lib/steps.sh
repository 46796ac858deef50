# Sourced by scripts that consist of steps. When the outermost script ends, it prints the
# seconds of every step, including those of the scripts that it calls. If a step fails,
# the last lines of its output follow the table.

steps_owner=
if [[ -z "${STEPS:-}" ]]; then
    STEPS=$(mktemp -d)
    export STEPS
    steps_owner=yes
    trap end_steps EXIT
fi

# step NAME COMMAND...: runs a program and records its time. Ends the script if it fails.
step() {
    local name=$1 status=0 log times wall user system TIMEFORMAT='%R %U %S'
    shift
    printf '\n== %s\n' "$name"
    log=$(mktemp -p "$STEPS") times=$(mktemp -p "$STEPS")
    { time STEP_INDENT="${STEP_INDENT:-}  " "$@" 2>&1 | tee "$log" >&3; } 3>&1 2>"$times" || status=$?
    read -r wall user system < <(tail -n 1 "$times")
    record_step "$name" "$wall" "$(awk "BEGIN { print $user + $system }")"
    if ((status != 0)); then
        # The innermost step reaches this line first.
        if [[ ! -e $STEPS/failed ]]; then
            echo "$name" >"$STEPS/failed"
            mv "$log" "$STEPS/failed.log"
        fi
        exit "$status"
    fi
}

# record_step NAME WALL_SECONDS [CPU_SECONDS]: adds a line to the table.
record_step() { printf '%9.1f %9s  %s%s\n' "$2" "${3:+$(printf '%.1f' "$3")}" "${STEP_INDENT:-}" "$1" >>"$STEPS/table"; }

# end_steps: prints the table and removes it, in the outermost script.
end_steps() {
    if [[ -z $steps_owner ]]; then return 0; fi
    if [[ -e $STEPS/table ]]; then
        printf '\n== seconds\n%9s %9s  step\n' wall CPU
        cat "$STEPS/table"
    fi
    if [[ -e $STEPS/failed ]]; then
        printf '\n== FAILED: %s; its last lines:\n' "$(<"$STEPS/failed")"
        tail -n 100 "$STEPS/failed.log"
    fi
    rm -rf "$STEPS"
}
