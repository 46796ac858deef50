# Deletes random pods of every service and of MySQL while clients add and remove ids.

installed
api POST /values '{"count": 120}' >/dev/null
RANDOM=${SEED:-$$}
note "seed $RANDOM, ${FAULT_SECONDS:=180} s"
sample "$REPORT/faults.samples"

# Adds and removes ids by the API and by SQL. A response may be a 503 while the database
# is unavailable: the script counts these, and accepts no other error.
change_ids() {
    local status
    while :; do
        for request in "POST /values" "DELETE /values?count=3"; do
            status=$(curl -s -m 10 -o /dev/null -w '%{http_code}' -X "${request% *}" "$API${request#* }" \
                -H 'content-type: application/json' -d '{"count": 3}') || true
            echo "$status" >>"$REPORT/faults.statuses"
            sleep 0.5
        done
        sql 'INSERT INTO `values` (value) VALUES (0), (7); DELETE FROM `values` ORDER BY id LIMIT 2' >/dev/null 2>&1 || true
        sleep 0.5
    done
}
change_ids &
background+=("$!")
changer=$!

services=(worker worker worker worker-manager worker-manager values-api values-api mysql)
deleted=()
end=$((SECONDS + FAULT_SECONDS))
while ((SECONDS < end)); do
    # MySQL is one pod and needs seconds to restart; it must be available between deletions.
    delete_one_of "${services[@]}"
    sleep $((1 + RANDOM % 4))
done
stop "$changer"

note "deleted: $(printf '%s\n' "${deleted[@]}" | tally)"
k rollout status statefulset mysql --timeout=60s >/dev/null
k rollout status deployment --timeout=60s >/dev/null
until_true 90 nothing_waits
sleep 5
stop_sampling
note_answers "$REPORT/faults.statuses"
expect_503_at_worst "$REPORT/faults.statuses"
expect "samples" "$(samples "$REPORT/faults.samples")" '>' 50
expect "broken rows, most in any sample" "$(most_broken "$REPORT/faults.samples")" == 0
counted
