# Sourced by ci/e2e: what its sections share.

CHART=charts/worker-system
NAMESPACE=worker-system
RELEASE=worker-system
CLUSTER=kind
REPORT=$(realpath -m "${REPORT:-target/e2e}")
IMAGES=(worker-manager worker values-api visit-counter main-app service-app)
STORE_IMAGES=(mysql:9.7 redis:8.0 rabbitmq:4.3-management)
# A Service of our own in front of values-api, so that the chart is installed as
# people install it and can be reached from here.
API=http://127.0.0.1:30801

failures=0
background=()

# --- the report ---------------------------------------------------------------

start_report() {
    rm -rf "$REPORT"
    mkdir -p "$REPORT"
    started=$SECONDS
}

say() { printf '%s\n' "$*" >&2; }

section() {
    current=$1
    printf '\n== %s (at %d s)\n' "$current" $((SECONDS - started)) >&2
}

# note WHAT: a line of the summary.
note() { printf '%-10s %s\n' "$current" "$*" | tee -a "$REPORT/summary.txt" >&2; }

# expect WHAT GOT OPERATOR WANTED: notes a number or text, and whether it is as it must be.
expect() {
    local what=$1 got=$2 operator=$3 wanted=$4
    if awk -v a="$got" -v b="$wanted" "BEGIN { exit !(a $operator b) }"; then
        note "$what: $got (must be $operator $wanted)"
    else
        failures=$((failures + 1))
        note "$what: $got, and must be $operator $wanted  <-- FAILED"
    fi
}

# expect_that WHAT COMMAND...: the same for a command that must succeed.
expect_that() {
    local what=$1 status=0
    shift
    "$@" >"$REPORT/last.log" 2>&1 || status=$?
    expect "$what, exit status" "$status" == 0
    ((status == 0)) || cat "$REPORT/last.log" >&2
}

skip() { note "SKIPPED: $*"; }

finish() {
    local status=$?
    local job
    for job in "${background[@]}"; do kill "$job" 2>/dev/null || true; done
    printf '\n== summary after %d s\n' $((SECONDS - started))
    cat "$REPORT/summary.txt" 2>/dev/null || true
    if ((status != 0 || failures > 0)); then
        printf '\nFAILED in %s: %d expectations, exit status %d; logs and events are in %s\n' \
            "${current:-the beginning}" "$failures" "$status" "$REPORT"
        collect || true
        exit 1
    fi
    if [[ -z "${KEEP:-}" ]]; then kind delete cluster --name "$CLUSTER" >&2 || true; fi
}

collect() {
    kubectl get all,events,networkpolicies,pvc -A -o wide >"$REPORT/objects.txt"
    local pod
    for pod in $(kubectl get pods -n "$NAMESPACE" -o name); do
        kubectl logs -n "$NAMESPACE" "$pod" --all-containers >"$REPORT/$(basename "$pod").log" 2>&1
        kubectl logs -n "$NAMESPACE" "$pod" --all-containers --previous >"$REPORT/$(basename "$pod").previous.log" 2>/dev/null \
            || rm "$REPORT/$(basename "$pod").previous.log"
    done
}

# --- the cluster --------------------------------------------------------------

k() { kubectl -n "$NAMESPACE" "$@"; }

# Only what goes wrong is interesting of what helm says.
h() { command helm "$@" 2> >(grep -v 'symbolic link' >&2); }

# cluster [NODES]: a fresh one of `one-node` or `three-nodes`, with the images on them.
cluster() {
    kind delete cluster --name "$CLUSTER" >/dev/null 2>&1 || true
    kind create cluster --name "$CLUSTER" --config "k8s/kind/${1:-one-node}.yaml" --wait 120s >&2
    local image images=("${STORE_IMAGES[@]}")
    for image in "${IMAGES[@]}"; do images+=("worker-system/$image:0.1.0"); done
    for image in "${STORE_IMAGES[@]}"; do
        docker image inspect "$image" >/dev/null 2>&1 || docker pull -q "$image" >&2
    done
    kind load docker-image --name "$CLUSTER" "${images[@]}" >&2
    kubectl create namespace "$NAMESPACE" >/dev/null
    kubectl label namespace "$NAMESPACE" pod-security.kubernetes.io/enforce=restricted >/dev/null
}

has_cluster() { kubectl get namespace "$NAMESPACE" >/dev/null 2>&1; }

# install [HELM ARGUMENT...]: installs or upgrades, and waits for readiness.
install() {
    h upgrade --install "$RELEASE" "$CHART" -n "$NAMESPACE" --wait --timeout 180s "$@" >"$REPORT/helm.log"
}

# expose: values-api on the node, as $API.
expose() {
    k apply -f - >/dev/null <<'YAML'
apiVersion: v1
kind: Service
metadata: {name: e2e-values-api}
spec:
  type: NodePort
  selector: {app.kubernetes.io/name: values-api}
  ports: [{port: 8001, targetPort: http, nodePort: 30801}]
YAML
    until_true 20 api GET /workers
}

# installed: makes sure that there is an installation to work on.
installed() {
    has_cluster || cluster
    h status "$RELEASE" -n "$NAMESPACE" >/dev/null 2>&1 || install
    expose
    countable
}

# --- the values system --------------------------------------------------------

# sql STATEMENT: as root, from inside the MySQL pod.
sql() { k exec mysql-0 -- bash -c 'MYSQL_PWD=$MYSQL_ROOT_PASSWORD mysql -uroot -NB values -e "$1"' _ "$1"; }

# The constraint would keep a broken row from being stored, and so from being counted.
countable() {
    sql 'ALTER TABLE `values` DROP CHECK values_one_second_is_one_increment' 2>/dev/null || true
}

# api METHOD PATH [BODY]: prints the answer's body, fails unless it is a 2xx.
api() { curl -sS -m 10 --fail-with-body -X "$1" "$API$2" ${3:+-H 'content-type: application/json' -d "$3"}; }

# until_true SECONDS COMMAND...: fails if the command has not succeeded by then.
until_true() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < deadline)) || { say "gave up after waiting: $*"; return 1; }
        sleep 0.2
    done
}

# stop JOB: ends a job of ours in the background.
stop() {
    kill "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
}

milliseconds() { date +%s%3N; }

broken_rows() { sql 'SELECT COUNT(*) FROM `values` WHERE value - initial_value <> last_tick - first_tick'; }
late_rows() { sql 'SELECT COUNT(*) FROM `values` WHERE last_tick < unix_timestamp() - 2'; }
orphans() { sql "SELECT COUNT(*) FROM \`values\` WHERE owner IS NULL OR owner NOT IN (SELECT incarnation FROM workers WHERE state <> 'dead')"; }
ids() { sql 'SELECT COUNT(*) FROM `values`'; }
ready_workers() { k get deployment worker -o jsonpath='{.status.readyReplicas}'; }
workers_are() { [[ $(ready_workers) == "$1" && $(k get deployment worker -o jsonpath='{.spec.replicas}') == "$1" ]]; }
nothing_waits() { [[ $(orphans) == 0 && $(late_rows) == 0 ]]; }
leader() { sql 'SELECT holder FROM manager_lease'; }

# counted: what must hold of every row once faults have been over for five seconds.
counted() {
    expect "ids counted" "$(ids)" '>' 0
    expect "broken rows" "$(broken_rows)" == 0
    expect "rows more than 2 s behind" "$(late_rows)" == 0
    expect "ids without a living owner" "$(orphans)" == 0
    expect "workers above capacity" "$(sql "SELECT COUNT(*) FROM (SELECT owner, COUNT(*) AS n FROM \`values\` GROUP BY owner) AS loads JOIN workers ON incarnation = owner WHERE n > capacity AND state = 'active'")" == 0
}

# expect_takeover WHAT SINCE_MS PODS...: all of the ids in $REPORT/victims, within 3 s.
expect_takeover() {
    local what=$1 since=$2 victims took
    shift 2
    victims=$(wc -l <"$REPORT/victims")
    all_taken_over() { [[ $(takeover "$since" "$REPORT/victims" "$@" | cut -d' ' -f1) == "$victims" ]]; }
    until_true 30 all_taken_over "$@"
    read -ra took < <(takeover "$since" "$REPORT/victims" "$@")
    expect "$what: ids taken over" "${took[0]}" == "$victims"
    note "$what: to the next tick under a new owner, median ${took[1]} ms"
    expect "$what: to the next tick under a new owner, longest in ms" "${took[2]}" '<=' 3000
}

# sample FILE: from now on writes, four times a second, the time in ms, the number of
# broken rows, by how many seconds the latest row is behind, and the managers' term.
sample() {
    : >"$1"
    while :; do
        k exec mysql-0 -- bash -c 'while :; do
            echo "SELECT ROUND(unix_timestamp(now(3)) * 1000), COALESCE(SUM(value - initial_value <> last_tick - first_tick), 0), COALESCE(MAX(unix_timestamp() - last_tick), 0), (SELECT term FROM manager_lease) FROM \`values\`;"
            sleep 0.25
        done | MYSQL_PWD=$MYSQL_ROOT_PASSWORD mysql -uroot -NB --unbuffered values' 2>/dev/null || true
        sleep 0.5
    done >>"$1" &
    sampler=$!
    background+=("$sampler")
    until_true 20 test -s "$1"
}

stop_sampling() { stop "$sampler"; }

samples() { wc -l <"$1"; }
most_broken() { awk '$2 > m { m = $2 } END { print m + 0 }' "$1"; }
# most_behind FILE [SINCE_MS]
most_behind() { awk -v since="${2:-0}" '$1 >= since && $3 > m { m = $3 } END { print m + 0 }' "$1"; }

# ids_of POD...: the ids that these workers own.
ids_of() {
    local names
    names=$(printf "'%s'," "$@")
    sql "SELECT id FROM \`values\` JOIN workers ON incarnation = owner WHERE name IN (${names%,}) AND state <> 'dead'"
}

# takeover SINCE_MS IDS_FILE PODS...: from the logs of the workers that the command
# PODS names, which write them after each commit: for each of the ids the ms from
# then to its first tick under a new owner; prints how many were taken over, the
# median and the longest.
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
