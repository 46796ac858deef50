# Upgrades, restarts, rolls back, uninstalls and reinstalls, changes a password, and uses
# an external database. No data is lost, and no request fails.

installed
# The ids fill the last worker half, so that the few ids added and removed below do not
# change the number of workers.
CAPACITY=20
api POST /values "{\"count\": $((CAPACITY * 2 - $(ids) % CAPACITY - CAPACITY / 2))}" >/dev/null
until_true 120 nothing_waits
until_true 200 workers_are $((($(ids) + CAPACITY - 1) / CAPACITY + 1))

# Must not change: the rows (except by ticks), passwords on both sides, replicas.
rows() { sql "SELECT COUNT(*), SUM(initial_value), SUM(first_tick), BIT_XOR(CRC32(CONCAT_WS(',', id, initial_value, first_tick))) FROM \`values\`"; }
passwords() {
    sql "SELECT SHA2(GROUP_CONCAT(HEX(authentication_string) ORDER BY user), 256) FROM mysql.user WHERE user IN ('root', 'values')"
    k get secret mysql mysql-values -o jsonpath='{.items[*].data}' | sha256sum
}
replicas() { k get deployments -o jsonpath='{range .items[*]}{.metadata.name}={.spec.replicas} {end}'; }
remember() { before_rows=$(rows) before_passwords=$(passwords) before_replicas=$(replicas); }
unchanged() {
    expect "$1: rows changed" "$([[ $(rows) == "$before_rows" ]] && echo 0 || echo 1)" == 0
    expect "$1: passwords changed" "$([[ $(passwords) == "$before_passwords" ]] && echo 0 || echo 1)" == 0
    expect "$1: replicas changed ($before_replicas)" "$([[ $(replicas) == "$before_replicas" ]] && echo 0 || echo 1)" == 0
}

# Sends ten requests a second, two in three of them writes. Logs status, time and request.
ask() {
    local id=9000000000
    while :; do
        id=$((id + 1))
        for request in "GET /values?limit=5" "POST /values" "DELETE /values/$id"; do
            curl -s -m 10 -o "$REPORT/answer" -X "${request% *}" "$API${request#* }" \
                -w "%{http_code} $(date +%T.%3N) $request, %{time_total} s %{errormsg}\n" \
                -H 'content-type: application/json' -d "{\"values\": [{\"id\": $id}]}" || true
            sleep 0.1
        done
    done >>"$REPORT/lifecycle.statuses"
}
start_asking() { : >"$REPORT/lifecycle.statuses"; ask & asker=$!; background+=("$asker"); }
stop_asking() {
    stop "$asker"
    sql 'DELETE FROM `values` WHERE id > 9000000000'
    expect "requests during the change" "$(wc -l <"$REPORT/lifecycle.statuses")" '>' 20
    expect "requests that failed" "$(grep -cv '^2' "$REPORT/lifecycle.statuses" || true)" == 0
    grep -v '^2' "$REPORT/lifecycle.statuses" >&2 || true
}

install
remember
sample "$REPORT/lifecycle.samples"
start_asking
install --set worker.drainTimeoutSeconds=14 --set worker-manager.deadAfterMilliseconds=2100 --set-string values-api.podAnnotations.changed=yes
note "helm upgrade with changed values of every service: revision $(h history "$RELEASE" -n "$NAMESPACE" | tail -1 | cut -f1)"
k rollout status deployment --timeout=120s >/dev/null
k rollout restart deployment >/dev/null
k rollout status deployment --timeout=120s >/dev/null
note "rolling restart of every Deployment"
h rollback "$RELEASE" -n "$NAMESPACE" --wait >/dev/null
k rollout status deployment --timeout=120s >/dev/null
note "helm rollback"
stop_asking
unchanged "upgrade, restart, rollback"
expect_that "helm test after the rollback" h test "$RELEASE" -n "$NAMESPACE"
until_true 60 nothing_waits
stop_sampling
expect "samples" "$(samples "$REPORT/lifecycle.samples")" '>' 50
expect "maximum delay of any row, in seconds" "$(most_behind "$REPORT/lifecycle.samples")" '<=' 3
expect "broken rows, most in any sample" "$(most_broken "$REPORT/lifecycle.samples")" == 0

remember
h uninstall "$RELEASE" -n "$NAMESPACE" --wait >/dev/null
note "uninstalled; left: $(k get pvc,secret -l app.kubernetes.io/part-of=worker-system -o name | tr '\n' ' ')$(k get pvc -o name | tr '\n' ' ')"
install
until_true 120 nothing_waits
until_true 60 eval '[[ $(replicas) == "$before_replicas" ]]'
unchanged "uninstall, reinstall"
counted

# Changes a password: the Secret, then the server, then the clients.
password=$(head -c 18 /dev/urandom | base64 | tr -dc 'a-zA-Z0-9')
k patch secret mysql-values -p "{\"stringData\": {\"password\": \"$password\"}}" >/dev/null
k rollout restart statefulset mysql >/dev/null
k rollout status statefulset mysql --timeout=120s >/dev/null
k rollout restart deployment >/dev/null
k rollout status deployment --timeout=120s >/dev/null
expect_that "login with the new password" k exec mysql-0 -- env MYSQL_PWD="$password" mysql -uvalues -h127.0.0.1 values -e 'SELECT 1'
install
expect_that "login with it after an upgrade" k exec mysql-0 -- env MYSQL_PWD="$password" mysql -uvalues -h127.0.0.1 values -e 'SELECT 1'
until_true 60 nothing_waits
counted

# Installs MySQL alone in a second namespace, and the system in a third one.
for namespace in e2e-database e2e-external; do restricted_namespace "$namespace"; done
h install database "$CHART/charts/mysql" -n e2e-database --wait --timeout 120s --set-json 'networkPolicy.extraIngress=[
    {"ports": [{"port": 3306}], "from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "e2e-external"}}}]}]' >/dev/null
password_of() { kubectl -n e2e-database get secret "mysql-$1" -o jsonpath='{.data.password}' | base64 -d; }
kubectl -n e2e-external create secret generic ours \
    --from-literal=values="$(password_of values)" --from-literal=jobs="$(password_of jobs)" \
    --from-literal=round-robin="$(password_of round-robin)" >/dev/null
# Without the services that need no MySQL: the node has no place for everything twice.
h install "$RELEASE" "$CHART" -n e2e-external --wait --timeout 120s \
    --set visit-counter.enabled=false --set global.redis.bundled=false \
    --set counting-server.enabled=false --set counting-client.enabled=false \
    --set global.mysql.bundled=false --set global.mysql.host=mysql.e2e-database.svc \
    --set global.mysql.databases.values.existingSecret.name=ours \
    --set global.mysql.databases.values.existingSecret.key=values \
    --set global.mysql.databases.jobs.existingSecret.name=ours \
    --set global.mysql.databases.jobs.existingSecret.key=jobs \
    --set global.mysql.databases.round-robin.existingSecret.name=ours \
    --set global.mysql.databases.round-robin.existingSecret.key=round-robin >/dev/null
expect_that "helm test on a MySQL outside of the release" h test "$RELEASE" -n e2e-external
kubectl delete namespace e2e-database e2e-external --wait=false >/dev/null
