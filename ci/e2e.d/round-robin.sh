# Checks that each message is served once, in order and in its replica's turn, while
# replicas, clients and MySQL are deleted. The table of messages is the judge.

SERVER=http://127.0.0.1:30802
HOST=round-robin.my-cluster.com

installed
install --set round-robin-server.service.nodePort=30802 --set round-robin-client.interval=20ms --set round-robin-client.replicas=2
until_true 30 curl -fsS -m 5 "$SERVER/turns?limit=1"

# served_by WHAT CURL_ARGUMENT...: the page and the API answer. The last argument is the address.
served_by() {
    local what=$1 curl=(curl -fsS -m 15 "${@:2:$#-2}") url=${*: -1}
    sent=$((${sent:-0} + 1))
    # shellcheck disable=SC2016 # the inner shell expands it
    expect_that "$what: the page" bash -c '[[ $("$@") == *"<!DOCTYPE html>"*"ound robin"* ]]' _ "${curl[@]}" "$url/"
    answer=$("${curl[@]}" "$url/messages" -d client_id=e2e-by-hand -d counter="$sent" -d message="$what") || true
    expect "$what: the message is served by a replica" "$(grep -c '"replica":"round-robin-server-' <<<"$answer" || true)" == 1
}
by_service round-robin-server 8002 30802 served_by
by_ingress "$HOST" served_by "the Ingress" -H "Host: $HOST" http://127.0.0.1

# A client of the image, over a WebSocket through the Ingress, until the end of the faults.
messages_of() { sql "SELECT COUNT(*) FROM round_robin.messages WHERE client_id = '$1' AND served_at IS NOT NULL"; }
has_messages() { (($(messages_of "$1") >= $2)); }
through_the_ingress() {
    docker rm -f e2e-round-robin-client >/dev/null 2>&1 || true
    docker run -d --name e2e-round-robin-client --network host --add-host "$HOST:127.0.0.1" \
        -e SERVER_URL="http://$HOST" -e CLIENT_ID=e2e-ingress -e INTERVAL=50ms -e ADMIN_LISTEN=127.0.0.1:30902 \
        worker-system/round-robin-client:0.1.0 >/dev/null
    expect_that "a WebSocket through the Ingress: 20 messages are served" until_true 30 has_messages e2e-ingress 20
}
by_ingress "$HOST" through_the_ingress

# send_messages CLIENT: sends messages one after the other, each until it is served or stored.
send_messages() {
    local counter=0 status
    while :; do
        counter=$((counter + 1))
        while :; do
            status=$(curl -s -m 15 -o /dev/null -w '%{http_code}' "$SERVER/messages" \
                -d client_id="$1" -d counter="$counter" -d message="message $counter") || true
            echo "$status" >>"$REPORT/round-robin.statuses"
            [[ $status == 20[02] ]] && break
            sleep 0.3
        done
        echo "$1 $counter" >>"$REPORT/round-robin.accepted"
    done
}
: >"$REPORT/round-robin.statuses"
: >"$REPORT/round-robin.accepted"
clients=()
for client in 1 2 3 4; do send_messages "e2e-http-$client" & clients+=("$!"); done
background+=("${clients[@]}")

seconds=${long:+180}
services=(round-robin-server round-robin-server round-robin-server round-robin-client mysql)
delete_during_an_upgrade "${seconds:-60}" \
    --set-string round-robin-server.podAnnotations.changed=yes --set-string round-robin-client.podAnnotations.changed=yes
for client in "${clients[@]}"; do stop "$client"; done

k rollout status statefulset mysql --timeout=60s >/dev/null
k rollout status deployment round-robin-server --timeout=120s >/dev/null
k rollout status statefulset round-robin-client --timeout=120s >/dev/null
# The clients go on, so what was received before this moment is served soon.
received=$(sql 'SELECT MAX(received_at) FROM round_robin.messages')
waiting() { sql "SELECT COUNT(*) FROM round_robin.messages WHERE served_at IS NULL AND received_at <= $received"; }
all_served() { [[ $(waiting) == 0 ]]; }
since=$(milliseconds)
until_true 60 all_served || true
note "everything received during the faults is served $((($(milliseconds) - since) / 1000)) s after the last pod was ready"
docker rm -f e2e-round-robin-client >/dev/null 2>&1 || true

# Each of these statements reads one state of the table, while clients go on.
note_answers "$REPORT/round-robin.statuses"
expect "messages served" "$(sql 'SELECT COUNT(*) FROM round_robin.messages WHERE served_at IS NOT NULL')" '>' 1000
expect "messages that were received and wait" "$(waiting)" == 0
expect "gaps in the numbers of any client" "$(gaps)" == 0
expect "clients whose first number is not 1" "$(sql 'SELECT COUNT(*) FROM (SELECT MIN(counter) AS first FROM round_robin.messages GROUP BY client_id) AS clients WHERE first <> 1')" == 0
expect "duplicates: messages served according to the turns, minus messages that were served" "$(sql 'SELECT (SELECT SUM(served) FROM round_robin.turns) - (SELECT COUNT(*) FROM round_robin.messages WHERE served_at IS NOT NULL)')" == 0
expect "duplicates: ranges of served messages that overlap" "$(sql 'SELECT COUNT(*) FROM (SELECT first_counter <= LAG(last_counter) OVER (PARTITION BY client_id ORDER BY first_counter, last_counter) AS overlaps FROM round_robin.served_ranges) AS ranges WHERE overlaps')" == 0
expect "duplicates: messages of a client with the same text" "$(sql 'SELECT COUNT(*) - COUNT(DISTINCT client_id, message) FROM round_robin.messages')" == 0
expect "messages served before an earlier one" "$(sql 'SELECT COUNT(*) FROM (SELECT served_at < LAG(served_at) OVER (PARTITION BY client_id ORDER BY counter) AS early FROM round_robin.messages WHERE served_at IS NOT NULL) AS ordered WHERE early')" == 0
expect "messages served outside of their replica's turn" "$(sql 'SELECT COUNT(*) FROM round_robin.messages AS m LEFT JOIN round_robin.turns AS t ON t.turn = m.served_at DIV 1000 WHERE m.served_at IS NOT NULL AND (t.turn IS NULL OR t.name <> m.replica)')" == 0
sql "SELECT client_id, counter FROM round_robin.messages WHERE client_id LIKE 'e2e-http-%' AND served_at IS NOT NULL" | tr '\t' ' ' | sort >"$REPORT/round-robin.served"
expect "messages accepted over HTTP" "$(wc -l <"$REPORT/round-robin.accepted")" '>' 50
expect "accepted messages that were not served" "$(comm -23 <(sort "$REPORT/round-robin.accepted") "$REPORT/round-robin.served" | wc -l)" == 0
expect "pods of the client, each the same client after it was replaced" "$(sql "SELECT COUNT(*) FROM round_robin.clients WHERE client_id LIKE 'round-robin-client-%'")" == 2
expect_503_at_worst "$REPORT/round-robin.statuses"
while IFS=$'\t' read -r client served replicas; do note "$client: $served messages served, by $replicas replicas"; done < <(
    sql 'SELECT client_id, COUNT(*), COUNT(DISTINCT replica) FROM round_robin.messages WHERE served_at IS NOT NULL GROUP BY client_id'
)
install
