# Checks that every accepted job runs, and takes effect once, while pods are deleted.

JOBS=http://127.0.0.1:30803

installed
with_jobs() { install --set main-app.service.type=NodePort --set main-app.service.nodePort=30803 --set service-app.processingTime=200ms "$@"; }
with_jobs
until_true 30 curl -fsS -m 5 "$JOBS/jobs?limit=1"

succeeded() { [[ $(curl -fsS -m 5 "$JOBS/jobs/$1") == *'"status":"succeeded"'* ]]; }
# asked CURL_ARGUMENT...: submits a job with curl, and waits until it has succeeded.
asked() {
    local answer since
    since=$(milliseconds)
    answer=$(curl -sS -m 10 -w ' %{http_code}' "$@")
    expect "curl /user-request-job is answered by" "${answer##* }" == 202
    [[ $answer =~ \"job_id\":\"([0-9a-f-]+)\" ]]
    until_true 30 succeeded "${BASH_REMATCH[1]}"
    note "job succeeded, ms after the request: $(($(milliseconds) - since))"
}
asked "$JOBS/user-request-job"
by_ingress main-app.my-cluster.com asked -H 'Host: main-app.my-cluster.com' http://127.0.0.1/user-request-job

# ask_for_jobs CLIENT: submits some jobs a second. Repeats each request with the same
# idempotency key until a response is final.
ask_for_jobs() {
    local number=0 key status
    while :; do
        number=$((number + 1)) key=e2e-$$-$1-$number
        while :; do
            status=$(curl -s -m 10 -o /dev/null -w '%{http_code}' -X POST "$JOBS/jobs" -H "Idempotency-Key: $key" \
                -H 'content-type: application/json' -d "{\"kind\": \"user-request\", \"payload\": {\"user_id\": \"e2e\", \"data\": $number}}") || true
            echo "$status" >>"$REPORT/jobs.statuses"
            [[ $status == 20[02] ]] && break
            sleep 0.3
        done
        echo "$key" >>"$REPORT/jobs.accepted"
        sleep 0.2
    done
}
: >"$REPORT/jobs.statuses"
: >"$REPORT/jobs.accepted"
clients=()
for client in 1 2 3 4; do ask_for_jobs "$client" & clients+=("$!"); done
background+=("${clients[@]}")

services=(main-app main-app service-app service-app service-app rabbitmq mysql)
delete_during_an_upgrade "${FAULT_SECONDS:=180}" \
    --set service-app.drainTimeoutSeconds=14 --set-string main-app.podAnnotations.changed=yes
for client in "${clients[@]}"; do stop "$client"; done

k rollout status statefulset mysql --timeout=60s >/dev/null
k rollout status statefulset rabbitmq --timeout=120s >/dev/null
k rollout status deployment --timeout=120s >/dev/null
unfinished() { sql "SELECT COUNT(*) FROM jobs.jobs WHERE state NOT IN ('succeeded', 'failed', 'cancelled')"; }
all_finished() { [[ $(unfinished) == 0 ]]; }
since=$(milliseconds)
until_true 120 all_finished || true
note "all jobs ended $((($(milliseconds) - since) / 1000)) s after the last pod was ready"
note_answers "$REPORT/jobs.statuses"
sql "SELECT CONVERT(idempotency_key USING ascii) FROM jobs.jobs WHERE idempotency_key LIKE 'e2e-$$-%' AND state = 'succeeded'" | sort >"$REPORT/jobs.succeeded"
expect "jobs accepted" "$(wc -l <"$REPORT/jobs.accepted")" '>' 100
expect "accepted jobs that did not succeed" "$(comm -23 <(sort "$REPORT/jobs.accepted") "$REPORT/jobs.succeeded" | wc -l)" == 0
expect "jobs stuck" "$(unfinished)" == 0
expect "jobs that succeeded twice" "$(sql "SELECT COUNT(*) FROM (SELECT job_id FROM jobs.attempts WHERE outcome = 'succeeded' GROUP BY job_id HAVING COUNT(*) > 1) AS twice")" == 0
expect "effects without a succeeded job, or succeeded jobs without an effect" "$(sql "SELECT ABS((SELECT COUNT(*) FROM jobs.user_requests) - (SELECT COUNT(*) FROM jobs.jobs WHERE kind = 'user-request' AND state = 'succeeded'))")" == 0
expect_503_at_worst "$REPORT/jobs.statuses"
install
