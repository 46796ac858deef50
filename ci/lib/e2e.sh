# Sourced by ci/e2e: common functions of its sections.

CHART=charts/worker-system
NAMESPACE=worker-system
RELEASE=worker-system
CLUSTER=kind
REPORT=$(realpath -m "${REPORT:-target/e2e}")
source ci/lib/services.sh
IMAGES=("${SERVICES[@]}")
STORE_IMAGES=(mysql:9.7 redis:8.0 rabbitmq:4.3-management)
# The address of an extra Service in front of values-api. It makes values-api reachable
# from here without changing the values of the chart.
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

# note WHAT: adds a line to the summary.
note() { printf '%-10s %s\n' "$current" "$*" | tee -a "$REPORT/summary.txt" >&2; }

# expect WHAT GOT OPERATOR WANTED: checks a number or text, and notes the result.
expect() {
    local what=$1 got=$2 operator=$3 wanted=$4
    if awk -v a="$got" -v b="$wanted" "BEGIN { exit !(a $operator b) }"; then
        note "$what: $got (must be $operator $wanted)"
    else
        failures=$((failures + 1))
        note "$what: $got, and must be $operator $wanted  <-- FAILED"
    fi
}

# expect_that WHAT COMMAND...: checks that a command succeeds, and notes the result.
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
        # The error that ended the script, if it was not a failed check.
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

# Hides the notice of helm about symbolic links.
h() { command helm "$@" 2> >(grep -v 'symbolic link' >&2); }

# new_cluster [NODES]: creates an empty cluster, `one-node` or `three-nodes`.
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

# cluster [NODES]: creates a cluster, and loads the images onto its nodes.
cluster() {
    new_cluster "$@"
    pull_store_images
    local image images=("${STORE_IMAGES[@]}")
    for image in "${IMAGES[@]}"; do images+=("worker-system/$image:0.1.0"); done
    kind load docker-image --name "$CLUSTER" "${images[@]}" >&2
    restricted_namespace "$NAMESPACE"
}

# restricted_namespace NAME: creates a namespace that enforces the Pod Security Standard
# `restricted`, and warns of violations.
restricted_namespace() {
    kubectl create namespace "$1" >/dev/null
    kubectl label namespace "$1" pod-security.kubernetes.io/{enforce,warn}=restricted >/dev/null
}

has_cluster() { kubectl get namespace "$NAMESPACE" >/dev/null 2>&1; }

# install [HELM ARGUMENT...]: installs or upgrades the release with these values only, and waits
# for readiness. Without --reset-values, an upgrade without values keeps those of the last one.
install() {
    h upgrade --install "$RELEASE" "$CHART" -n "$NAMESPACE" --reset-values --wait --timeout 180s "$@" >"$REPORT/helm.log"
}

# expose: makes values-api reachable on the node, at $API.
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

# installed: installs the release unless it is installed already.
installed() {
    has_cluster || cluster
    h status "$RELEASE" -n "$NAMESPACE" >/dev/null 2>&1 || install
    expose
    countable
}

# sql STATEMENT: executes a statement as root, inside the MySQL pod.
sql() { k exec mysql-0 -- bash -c 'MYSQL_PWD=$MYSQL_ROOT_PASSWORD mysql -uroot -NB values -e "$1"' _ "$1"; }

# sql_every SECONDS STATEMENT: executes it repeatedly, until the reader closes the pipe.
sql_every() {
    k exec mysql-0 -- bash -c 'while :; do echo "$2;"; sleep "$1"; done |
        MYSQL_PWD=$MYSQL_ROOT_PASSWORD mysql -uroot -NB --unbuffered values' _ "$1" "$2" 2>/dev/null
}

# gaps: prints how many numbers are missing among the served messages of all clients.
gaps() {
    sql 'SELECT COALESCE(SUM(gaps), 0) FROM (SELECT MAX(counter) - MIN(counter) + 1 - COUNT(*) AS gaps
        FROM round_robin.messages WHERE served_at IS NOT NULL GROUP BY client_id) AS clients'
}

# until_true SECONDS COMMAND...: repeats a command until it succeeds. Fails after SECONDS.
until_true() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < deadline)) || { say "gave up after waiting: $*"; return 1; }
        sleep 0.2
    done
}

# stop JOB: ends a background job of this script.
stop() {
    kill "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
}

milliseconds() { date +%s%3N; }

# pods_of SERVICE [ARGUMENT...]: prints the names of its pods.
pods_of() { k get pods -l "app.kubernetes.io/name=$1" --no-headers -o custom-columns=:metadata.name "${@:2}"; }

# delete_one_of SERVICE...: deletes a random pod, every other time by force, and appends
# its service to $deleted.
delete_one_of() {
    local service=${*:RANDOM % $# + 1:1} force=()
    if ((RANDOM % 2 == 0)); then force=(--grace-period=0 --force); fi
    k delete pod "$(pods_of "$service" | shuf -n 1)" --wait=false "${force[@]}" >/dev/null 2>&1 || true
    deleted+=("$service")
}

# delete_during_an_upgrade SECONDS HELM_ARGUMENT...: deletes pods of the services in $services at
# random. Upgrades with the arguments after a third of the time, and rolls back after two thirds.
delete_during_an_upgrade() {
    local seconds=$1 began=$SECONDS upgraded='' deleted=()
    shift
    RANDOM=${SEED:-$$}
    note "seed $RANDOM, $seconds s of deleting, an upgrade and a rollback in the middle"
    while ((SECONDS < began + seconds)); do
        delete_one_of "${services[@]}"
        if [[ -z $upgraded ]] && ((SECONDS > began + seconds / 3)); then
            h upgrade "$RELEASE" "$CHART" -n "$NAMESPACE" --reuse-values "$@" >/dev/null
            upgraded=yes
        elif [[ $upgraded == yes ]] && ((SECONDS > began + seconds * 2 / 3)); then
            h rollback "$RELEASE" -n "$NAMESPACE" >/dev/null
            upgraded=back
        fi
        sleep $((1 + RANDOM % 4))
    done
    note "deleted: $(printf '%s\n' "${deleted[@]}" | tally)"
    expect "upgraded and rolled back" "$([[ $upgraded == back ]] && echo 1 || echo 0)" == 1
}

# tally: counts the occurrences of each line of the input.
tally() { sort | uniq -c | awk '{ printf "%s × %s  ", $2, $1 }'; }

# note_answers FILE [WHAT]: notes the counts of HTTP statuses. FILE has one per line.
note_answers() { note "${2:+$2: }answers: $(tally <"$1") (000: no connection, or a broken one)"; }

# expect_503_at_worst FILE: checks that 503 is the only server error.
expect_503_at_worst() { expect "answers of 5xx other than 503" "$(grep -cE '^5' <(grep -v 503 "$1") || true)" == 0; }

# by_service SERVICE PORT NODE_PORT COMMAND: runs the command with what it is about and an address:
# the port of a node, and the address of the load balancer, if this cluster has one.
by_service() {
    local service=$1 port=$2 node_port=$3 node balancer
    # What `minikube service` opens.
    node=$(kubectl get nodes -o jsonpath='{.items[0].status.addresses[?(@.type=="InternalIP")].address}')
    "$4" "the port of a node" "http://$node:$node_port"
    balancer=$(k get service "$service" -o jsonpath='{.status.loadBalancer.ingress[0].ip}{.status.loadBalancer.ingress[0].hostname}')
    if [[ -z $balancer ]]; then
        skip "the load balancer: this cluster gives no Service an address"
    elif curl -s -m 5 -o /dev/null "http://$balancer:$port/"; then
        "$4" "the load balancer" "http://$balancer:$port"
    else
        "$4" "the load balancer, whose address $balancer leads to the port of a node" "http://$balancer:$node_port"
    fi
}

# by_ingress HOST COMMAND...: runs a command once the ingress controller leads requests for
# HOST to its service, if this machine has a controller. A controller applies a new Ingress,
# and new addresses of pods, only some seconds after they were stored.
by_ingress() {
    local host=$1
    shift
    if curl -s -m 2 -o /dev/null http://127.0.0.1:80; then
        until_true 30 curl -fsS -m 5 -H "Host: $host" http://127.0.0.1/
        "$@"
    else
        skip "the Ingress: nothing answers on port 80"
    fi
}
