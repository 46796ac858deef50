# Checks that each visit gets a unique number, even if pods and Redis are deleted.

VISITS=http://127.0.0.1:31000

installed
install --set visit-counter.service.type=NodePort --set visit-counter.service.nodePort=31000 \
    --set visit-counter.autoscaling.scaleDownStabilizationSeconds=30
k rollout status deployment visit-counter --timeout=60s >/dev/null
until_true 20 curl -fsS -m 5 "$VISITS/"

says_hello() { [[ $(curl -fsS -m 5 "$@") =~ Hi\ from\ .*kubernetes.*Counter:.*[0-9]+ ]]; }
expect_that "the page by its NodePort" says_hello "$VISITS/"
by_ingress visit-counter.my-cluster.com expect_that "the page by its Ingress" says_hello -H 'Host: visit-counter.my-cluster.com' http://127.0.0.1/

# visit FILE: sends visits one after the other, and writes the status and number of each
# response, until the file $REPORT/enough exists.
visit() {
    while [[ ! -e $REPORT/enough ]]; do
        # shellcheck disable=SC2046 # many addresses
        curl -s -m 10 -X POST -w ' %{http_code}\n' $(printf "$VISITS/api/visits %.0s" {1..200}) 2>/dev/null |
            sed -E 's/^\{"number":([0-9]+)\} ([0-9]{3})$/\2 \1/; t; s/^.* ([0-9]{3})$/\1/' >>"$1" || true
    done
}
start_visits() {
    rm -f "$REPORT/enough"
    visits=$1 visitors=()
    : >"$visits"
    for _ in 1 2 3 4; do visit "$visits" & visitors+=("$!"); done
    background+=("${visitors[@]}")
}
# stop_visits WHAT: ends the visitors and checks the responses. A response may be a 503
# while Redis is unavailable, or be missing if a pod was killed; any other is an error.
stop_visits() {
    touch "$REPORT/enough"
    wait "${visitors[@]}"
    expect "$1: visits counted" "$(grep -c '^200 [0-9]' "$visits")" '>' 100
    expect "$1: numbers given twice" "$(awk '$1 == 200 { print $2 }' "$visits" | sort | uniq -d | wc -l)" == 0
    expect "$1: answers that were neither a number nor 503" "$(grep -cvE '^(200 [0-9]+|503|000)$' "$visits" || true)" == 0
    note_answers <(awk '{ print $1 }' "$visits") "$1"
}

# none_failed WHAT: checks that none of the last visits failed.
none_failed() { expect "$1: visits that failed" "$(grep -vc '^200 ' "$visits" || true)" == 0; }

# Under load the HPA adds pods; after the load it removes them.
visit_replicas() { k get deployment visit-counter -o jsonpath='{.status.readyReplicas}'; }
more_than_three() { (($(visit_replicas) > 3)); }
just_three() { (($(visit_replicas) == 3)); }
since=$(milliseconds)
start_visits "$REPORT/visits.load"
until_true 240 more_than_three
note "HPA: $(visit_replicas) pods after $((($(milliseconds) - since) / 1000)) s of load, $(k get hpa visit-counter -o jsonpath='{.status.currentMetrics[0].resource.current.averageUtilization}') % of the requested CPU"
stop_visits "under load"
none_failed "under load"
since=$(milliseconds)
until_just_three() { until_true 400 just_three && note "HPA: back to 3 pods $((($(milliseconds) - since) / 1000)) s after the load"; }
until_just_three &
scaling_down=$!
background+=("$scaling_down")

# Meanwhile, tests an external Redis that a Secret of the user's describes.
for namespace in e2e-redis e2e-visits; do restricted_namespace "$namespace"; done
h install redis "$CHART/charts/redis" -n e2e-redis --wait --timeout 60s --set password=elsewhere --set-json 'networkPolicy.extraIngress=[
    {"ports": [{"port": 6379}], "from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "e2e-visits"}}}]}]' >/dev/null
kubectl -n e2e-visits create secret generic devops-challenge-env --from-literal=REDIS_HOST=redis.e2e-redis.svc \
    --from-literal=REDIS_PORT=6379 --from-literal=REDIS_DB=1 --from-literal=REDIS_PASSWORD=elsewhere >/dev/null
h install visits "$CHART/charts/visit-counter" -n e2e-visits --wait --timeout 60s \
    --set existingSecret=devops-challenge-env --set autoscaling.enabled=false --set replicas=1 >/dev/null
expect_that "helm test on a Redis by existingSecret" h test visits -n e2e-visits
kubectl delete namespace e2e-redis e2e-visits --wait=false >/dev/null
wait "$scaling_down"

# Deletes Redis and pods of visit-counter in turn.
start_visits "$REPORT/visits.faults"
for _ in 1 2 3; do
    k delete pod redis-0 >/dev/null
    k rollout status statefulset redis --timeout=60s >/dev/null
    k delete pod "$(pods_of visit-counter | shuf -n 1)" --grace-period=0 --force >/dev/null 2>&1
    k rollout status deployment visit-counter --timeout=60s >/dev/null
done
stop_visits "3 deletions of Redis, 3 of visit-counter"
last=$(awk '$1 == 200 && $2 > m { m = $2 } END { print m }' "$REPORT/visits.faults")
now=$(curl -fsS -m 5 "$VISITS/api/counter" | grep -oE '[0-9]+' | head -1)
expect "counter, at least the highest number given" "$now" '>=' "$last"

# No visit fails during an upgrade and a rollback.
start_visits "$REPORT/visits.lifecycle"
h upgrade "$RELEASE" "$CHART" -n "$NAMESPACE" --reuse-values --wait --set visit-counter.environment=upgraded >/dev/null
h rollback "$RELEASE" -n "$NAMESPACE" --wait >/dev/null
k rollout status deployment visit-counter --timeout=60s >/dev/null
stop_visits "upgrade and rollback"
none_failed "upgrade and rollback"
install
