# Installs with default values, measures the time until Ready, and checks the result.

cluster
since=$(milliseconds)
(cd charts && h install worker-system worker-system -n "$NAMESPACE" --create-namespace >"$REPORT/install.log")
until_true 120 k wait pod --all --for=condition=Ready --timeout=30s
k rollout status deployment --timeout=60s >/dev/null
expect "seconds from install to every pod Ready" "$(awk "BEGIN { print ($(milliseconds) - $since) / 1000 }")" '<=' 90
note "pods: $(k get pods --no-headers -L app.kubernetes.io/name | awk '{ print $NF }' | tally)"

requested=$(k get pods -o jsonpath='{range .items[*].spec.containers[*]}{.resources.requests.cpu}{"\n"}{end}' |
    awk '/m$/ { sum += $1; next } { sum += 1000 * $1 } END { print sum / 1000 }')
expect "cores requested" "$requested" '<=' 1.3
expect_that "helm test" h test "$RELEASE" -n "$NAMESPACE" --logs

installed
by_ingress values-api.my-cluster.com expect_that "values-api by its Ingress" \
    curl -fsS -m 5 -H 'Host: values-api.my-cluster.com' http://127.0.0.1/workers
expect "restarts" "$(k get pods -o jsonpath='{.items[*].status.containerStatuses[*].restartCount}' | tr ' ' '\n' | awk '{ s += $1 } END { print s + 0 }')" == 0
installed_at=$SECONDS
