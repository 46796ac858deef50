# Sourced by ci/e2e: what its sections share.

CHART=charts/worker-system
NAMESPACE=worker-system
RELEASE=worker-system
CLUSTER=kind
REPORT=$(realpath -m "${REPORT:-target/e2e}")
source ci/lib/services.sh
IMAGES=("${SERVICES[@]}")
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
    exec 2> >(tee "$REPORT/stderr.log" >&2)
}

say() { printf '%s\n' "$*" >&2; }

section() {
    end_section
    current=$1 section_began=$SECONDS
    printf '\n== %s (at %d s)\n' "$current" $((SECONDS - started)) >&2
}

end_section() { if [[ -n ${current:-} ]]; then record_step "$current" $((SECONDS - section_began)); fi; }

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
    end_section
    end_steps
    printf '\n== summary after %d s\n' $((SECONDS - started))
    cat "$REPORT/summary.txt" 2>/dev/null || true
    if ((status != 0 || failures > 0)); then
        collect || true
        printf '\nFAILED in %s: %d expectations, exit status %d; logs and events are in %s\n' \
            "${current:-the beginning}" "$failures" "$status" "$REPORT"
        grep -F -e '<-- FAILED' "$REPORT/summary.txt" || true
        # What ended the script, if it was no expectation.
        if ((status != 0)); then tail -n 20 "$REPORT/stderr.log"; fi
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

# new_cluster [NODES]: an empty one of `one-node` or `three-nodes`.
new_cluster() {
    kind delete cluster --name "$CLUSTER" >/dev/null 2>&1 || true
    kind create cluster --name "$CLUSTER" --config "k8s/kind/${1:-one-node}.yaml" --wait 120s >&2
}

pull_store_images() {
    local image
    for image in "${STORE_IMAGES[@]}"; do
        docker image inspect "$image" >/dev/null 2>&1 || docker pull -q "$image" >&2
    done
}

# cluster [NODES]: a new one, with the images on its nodes.
cluster() {
    new_cluster "$@"
    pull_store_images
    local image images=("${STORE_IMAGES[@]}")
    for image in "${IMAGES[@]}"; do images+=("worker-system/$image:0.1.0"); done
    kind load docker-image --name "$CLUSTER" "${images[@]}" >&2
    restricted_namespace "$NAMESPACE"
}

# restricted_namespace NAME: a new one, which lets only pods in that keep to the
# strictest of the standards, and warns of others.
restricted_namespace() {
    kubectl create namespace "$1" >/dev/null
    kubectl label namespace "$1" pod-security.kubernetes.io/{enforce,warn}=restricted >/dev/null
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

# sql STATEMENT: as root, from inside the MySQL pod.
sql() { k exec mysql-0 -- bash -c 'MYSQL_PWD=$MYSQL_ROOT_PASSWORD mysql -uroot -NB values -e "$1"' _ "$1"; }

# sql_every SECONDS STATEMENT: the same again and again, until nobody reads any more.
sql_every() {
    k exec mysql-0 -- bash -c 'while :; do echo "$2;"; sleep "$1"; done |
        MYSQL_PWD=$MYSQL_ROOT_PASSWORD mysql -uroot -NB --unbuffered values' _ "$1" "$2" 2>/dev/null
}

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

# pods_of SERVICE [ARGUMENT...]: the names of its pods.
pods_of() { k get pods -l "app.kubernetes.io/name=$1" --no-headers -o custom-columns=:metadata.name "${@:2}"; }

# delete_one_of SERVICE...: deletes a pod at random, every other time by force; notes
# its service in $deleted.
delete_one_of() {
    local service=${*:RANDOM % $# + 1:1} force=()
    if ((RANDOM % 2 == 0)); then force=(--grace-period=0 --force); fi
    k delete pod "$(pods_of "$service" | shuf -n 1)" --wait=false "${force[@]}" >/dev/null 2>&1 || true
    deleted+=("$service")
}

# tally: how often each line of the input is there.
tally() { sort | uniq -c | awk '{ printf "%s × %s  ", $2, $1 }'; }

# note_answers FILE [WHAT]: HTTP statuses, one in a line.
note_answers() { note "${2:+$2: }answers: $(tally <"$1") (000: no connection, or cut)"; }

# expect_503_at_worst FILE: what is away for a moment says so, and nothing fails.
expect_503_at_worst() { expect "answers of 5xx other than 503" "$(grep -cE '^5' <(grep -v 503 "$1") || true)" == 0; }

# by_ingress COMMAND...: runs it if this machine has an ingress controller.
by_ingress() {
    if curl -s -m 2 -o /dev/null http://127.0.0.1:80; then "$@"; else skip "the Ingress: nothing answers on port 80"; fi
}
