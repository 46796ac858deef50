# Sourced by ci/e2e: functions for the sections that test the values system.

# The constraint would reject broken rows, so the checks could never count one.
countable() {
    sql 'ALTER TABLE `values` DROP CHECK values_one_second_is_one_increment' 2>/dev/null || true
}

# api METHOD PATH [BODY]: prints the body of the response. Fails unless it is a 2xx.
api() { curl -sS -m 10 --fail-with-body -X "$1" "$API$2" ${3:+-H 'content-type: application/json' -d "$3"}; }

broken_rows() { sql 'SELECT COUNT(*) FROM `values` WHERE value - initial_value <> last_tick - first_tick'; }
late_rows() { sql 'SELECT COUNT(*) FROM `values` WHERE last_tick < unix_timestamp() - 2'; }
orphans() { sql "SELECT COUNT(*) FROM \`values\` WHERE owner IS NULL OR owner NOT IN (SELECT incarnation FROM workers WHERE state <> 'dead')"; }
ids() { sql 'SELECT COUNT(*) FROM `values`'; }
ready_workers() { k get deployment worker -o jsonpath='{.status.readyReplicas}'; }
workers_are() { [[ $(ready_workers) == "$1" && $(k get deployment worker -o jsonpath='{.spec.replicas}') == "$1" ]]; }
nothing_waits() { [[ $(orphans) == 0 && $(late_rows) == 0 ]]; }
leader() { sql 'SELECT holder FROM manager_lease'; }

# counted: checks all rows. Call it at least five seconds after the last fault.
counted() {
    expect "ids counted" "$(ids)" '>' 0
    expect "broken rows" "$(broken_rows)" == 0
    expect "rows more than 2 s behind" "$(late_rows)" == 0
    expect "ids without a living owner" "$(orphans)" == 0
    expect "workers above capacity" "$(sql "SELECT COUNT(*) FROM (SELECT owner, COUNT(*) AS n FROM \`values\` GROUP BY owner) AS loads JOIN workers ON incarnation = owner WHERE n > capacity AND state = 'active'")" == 0
}

# expect_takeover WHAT SINCE_MS PODS...: checks that other workers take over all ids in
# $REPORT/victims within 3 s.
expect_takeover() {
    local what=$1 since=$2 victims took
    shift 2
    victims=$(wc -l <"$REPORT/victims")
    all_taken_over() { [[ $(takeover "$since" "$REPORT/victims" "$@" | cut -d' ' -f1) == "$victims" ]]; }
    until_true 30 all_taken_over "$@"
    read -ra took < <(takeover "$since" "$REPORT/victims" "$@")
    expect "$what: ids taken over" "${took[0]}" == "$victims"
    note "$what: to the next tick under a new owner, median ${took[1]} ms"
    expect "$what: to the next tick under a new owner, maximum in ms" "${took[2]}" '<=' 3000
}

# sample FILE: starts to write four lines a second: the time in ms, the number of broken
# rows, how many seconds the most delayed row is behind, and the managers' term.
sample() {
    : >"$1"
    while :; do
        sql_every 0.25 'SELECT ROUND(unix_timestamp(now(3)) * 1000), COALESCE(SUM(value - initial_value <> last_tick - first_tick), 0), COALESCE(MAX(unix_timestamp() - last_tick), 0), (SELECT term FROM manager_lease) FROM `values`' || true
        sleep 0.5
    done >>"$1" &
    sampler=$!
    background+=("$sampler")
    until_true 20 test -s "$1"
}

stop_sampling() { stop "$sampler"; }

samples() { wc -l <"$1"; }
most_broken() { awk '$2 > m { m = $2 } END { print m + 0 }' "$1"; }
# most_behind FILE [SINCE_MS]: the maximum delay of any row, in seconds.
most_behind() { awk -v since="${2:-0}" '$1 >= since && $3 > m { m = $3 } END { print m + 0 }' "$1"; }

# ids_of POD...: prints the ids that these workers own.
ids_of() {
    local names
    names=$(printf "'%s'," "$@")
    sql "SELECT id FROM \`values\` JOIN workers ON incarnation = owner WHERE name IN (${names%,}) AND state <> 'dead'"
}

# takeover SINCE_MS IDS_FILE PODS...: measures for each id the ms from SINCE_MS to its
# first tick under a new owner. Reads the logs of the workers that the command PODS
# lists; workers log after each commit. Prints how many ids were taken over, the median
# and the maximum.
takeover() {
    local pod
    "${@:3}" | while read -r pod; do
        k logs "$pod" --since-time="$(date -u -d "@$(($1 / 1000))" +%FT%TZ)" 2>/dev/null || true
    done |
        awk -v since="$1" -v ids="$2" '
            BEGIN { while ((getline id < ids) > 0) wanted[id] = 1; day = since % 86400000 }
            /"message":"assignment changed"/ {
                match($0, /"timestamp":"[^"]*/); time = substr($0, RSTART + 24, 15)
                ms = substr(time, 1, 2) * 3600000 + substr(time, 4, 2) * 60000 + substr(time, 7, 9) * 1000 - day
                if (ms < -43200000) ms += 86400000
                if (ms < 0 || !match($0, /"gained":"\[[^]]*/)) next
                n = split(substr($0, RSTART + 11, RLENGTH - 11), gained, /, */)
                for (i = 1; i <= n; i++)
                    if (gained[i] in wanted && (!(gained[i] in first) || ms < first[gained[i]])) first[gained[i]] = ms
            }
            END { for (id in first) print int(first[id]) }' |
        sort -n | awk '{ a[NR] = $1 } END { print NR + 0, a[int((NR + 1) / 2)] + 0, a[NR] + 0 }'
}
