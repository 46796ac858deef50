# Checks that ids spread, fail over and scale, and that each second is counted once.

installed
install --set worker-manager.scaling.spare=4
sample "$REPORT/values.samples"

since=$(milliseconds)
api POST /values '{"count": 200}' >/dev/null
until_true 60 workers_are 14
until_true 30 nothing_waits
note "200 ids: 14 workers (10 and 4 spare) and every id ticking after $(($(milliseconds) - since)) ms"

running_workers() { pods_of worker --field-selector=status.phase=Running; }
survivors() { running_workers | grep -vxF "$(printf '%s\n' "${doomed[@]}")"; }
spread_over() { [[ $(sql "SELECT COUNT(DISTINCT owner) FROM \`values\`") == "$1" ]]; }

# fail_over HOW [DELETE ARGUMENT...]: deletes three workers and the leading manager at once.
fail_over() {
    local how=$1 since
    shift
    until_true 60 workers_are 14
    until_true 30 nothing_waits
    mapfile -t doomed < <(running_workers | shuf -n 3)
    ids_of "${doomed[@]}" >"$REPORT/victims"
    since=$(milliseconds)
    k delete pod "${doomed[@]}" "$(leader)" --wait=false "$@" >/dev/null 2>&1
    expect_takeover "$how of 3 workers and the leading manager" "$since" survivors
}

fail_over "deletion"
fail_over "deletion by force" --grace-period=0 --force

until_true 60 workers_are 14
until_true 30 nothing_waits
since=$(milliseconds)
k scale deployment worker --replicas=16 >/dev/null
until_true 60 workers_are 16
until_true 20 spread_over 16
k scale deployment worker --replicas=12 >/dev/null
until_true 60 workers_are 12
until_true 20 spread_over 12
sleep 2
expect "scaled by hand to 16 and 12: maximum delay of any row, in seconds" "$(most_behind "$REPORT/values.samples" "$since")" '<=' 3

api DELETE '/values?count=100' >/dev/null
since=$(milliseconds)
until_true 200 workers_are 9
note "half of the ids removed: 9 workers after $((($(milliseconds) - since) / 1000)) s, $(k get deployment worker -o jsonpath='{.spec.replicas}') replicas requested"
sleep 2
expect "scaled down by the manager: maximum delay of any row, in seconds" "$(most_behind "$REPORT/values.samples" "$since")" '<=' 3

stop_sampling
expect "samples" "$(samples "$REPORT/values.samples")" '>' 50
expect "broken rows, most in any sample" "$(most_broken "$REPORT/values.samples")" == 0
counted
install --set worker-manager.scaling.spare=1
