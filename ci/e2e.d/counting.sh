# Checks that two clients count together and that no number is left out or stored twice, while
# the server and both clients are deleted. The file on the volume is the judge, and so is the API.

source ci/lib/e2e-counting.sh

COUNTING=http://127.0.0.1:30804
HOST=counting.my-cluster.com
client() { echo "app.kubernetes.io/name=counting-client,role=$1"; }

installed
with_counting() {
    install --set counting-server.service.type=LoadBalancer --set counting-server.service.nodePort=30804 \
        --set counting-client.interval=20ms "$@"
}
with_counting
until_true 60 has_counted_to 20
start_reader

# answers TEXT COMMAND...: the output contains the text.
answers() { [[ $("${@:2}") == *"$1"* ]]; }

# reached_by WHAT CURL_ARGUMENT...: page, API, event stream and Socket.IO answer. The last
# argument is the address.
reached_by() {
    local what=$1 curl=(curl -sS -m 5 "${@:2:$#-2}") url=${*: -1} status
    expect_that "$what: the page" answers '<!DOCTYPE html>' "${curl[@]}" "$url/"
    expect_that "$what: /health" answers '"last_number":' "${curl[@]}" "$url/health"
    expect_that "$what: /numbers" answers '{"number":3,"words":"three"}' "${curl[@]}" "$url/numbers?from=1&limit=3"
    expect "$what: event stream, content type" "$("${curl[@]}" -m 2 -o /dev/null -w '%{content_type}' "$url/events" 2>/dev/null | grep -c '^text/event-stream')" == 1
    expect "$what: Socket.IO by polling, sessions" "$("${curl[@]}" "$url/socket.io/?EIO=4&transport=polling" | grep -c '^0{"sid"')" == 1
    # curl waits for frames until its time is over.
    status=$("${curl[@]}" -m 2 --http1.1 -o /dev/null -w '%{http_code}' -H 'Connection: Upgrade' -H 'Upgrade: websocket' \
        -H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==' "$url/socket.io/?EIO=4&transport=websocket" 2>/dev/null) || true
    expect "$what: Socket.IO by WebSocket, status" "$status" == 101
}
by_service counting-server 5000 30804 reached_by
by_ingress "$HOST" reached_by "the Ingress" -H "Host: $HOST" http://127.0.0.1

# A client of the image takes the role of client1, over a WebSocket through the Ingress.
through_the_ingress() {
    k scale deployment counting-client1 --replicas=0 >/dev/null
    k wait pod -l "$(client client1)" --for=delete --timeout=60s >/dev/null
    docker rm -f e2e-counting-client >/dev/null 2>&1 || true
    docker run -d --name e2e-counting-client --network host --add-host "$HOST:127.0.0.1" -e SERVER_URL="http://$HOST" \
        -e ROLE=client1 -e INTERVAL=20ms -e ADMIN_LISTEN=127.0.0.1:30902 worker-system/counting-client:0.1.0 >/dev/null
    expect_that "a client outside of the cluster, through the Ingress: 20 numbers" counts 30
    docker rm -f e2e-counting-client >/dev/null
    k scale deployment counting-client1 --replicas=1 >/dev/null
    k rollout status deployment counting-client1 --timeout=60s >/dev/null
    expect_that "the pod of client1 counts again" counts 30
}
by_ingress "$HOST" through_the_ingress

# deleted_pod WHAT DELETE_ARGUMENT...: one pod is deleted, and the count goes on.
deleted_pod() {
    local what=$1 since pods
    shift
    since=$(milliseconds)
    pods=$(k delete pod "$@" 2>/dev/null | wc -l)
    expect "$what: pods deleted" "$pods" == 1
    expect_that "$what: counting goes on" counts 60
    note "$what: longest time without a new number, ms: $(longest_pause "$REPORT/counting.watched" "$since")"
}
watch_count "$REPORT/counting.watched"
for how in "" "--grace-period=0 --force"; do
    for role in client1 client2; do
        # shellcheck disable=SC2086 # arguments
        deleted_pod "deletion of $role${how:+ by force}" -l "$(client "$role")" $how
    done
    # shellcheck disable=SC2086
    deleted_pod "deletion of the server${how:+ by force}" counting-server-0 $how
done
expect_every_number "after each was deleted"

# Upgrade and rollback, while nothing else happens.
since=$(milliseconds)
with_counting --set-string counting-server.podAnnotations.changed=yes --set-string counting-client.podAnnotations.changed=yes
expect_that "upgrade: counting goes on" counts 60
h rollback "$RELEASE" -n "$NAMESPACE" --wait >/dev/null
expect_that "rollback: counting goes on" counts 60
note "upgrade and rollback: longest time without a new number, ms: $(longest_pause "$REPORT/counting.watched" "$since")"

seconds=${long:+180}
services=(counting-server counting-client counting-client)
since=$(milliseconds)
delete_during_an_upgrade "${seconds:-60}" \
    --set-string counting-server.podAnnotations.changed=again --set-string counting-client.podAnnotations.changed=again
k rollout status statefulset counting-server --timeout=120s >/dev/null
k rollout status deployment -l app.kubernetes.io/name=counting-client --timeout=120s >/dev/null
ready=$(milliseconds)
expect_that "after the faults: counting goes on" counts 60
note "after the faults: 20 more numbers after $(($(milliseconds) - ready)) ms; longest time without a new number during the faults, ms: $(longest_pause "$REPORT/counting.watched" "$since")"
stop "$watcher"
expect "samples" "$(wc -l <"$REPORT/counting.watched")" '>' 50
expect "times that the last number became lower" "$(backward "$REPORT/counting.watched")" == 0
expect_every_number "after the faults"
expect "numbers stored" "$(last_number)" '>' 1000
expect "numbers that were reported as stored and are gone" "$(($(highest "$REPORT/counting.watched") - $(last_number)))" '<=' 0

# A new install continues on the volume of the old one.
before=$(last_number)
k delete pod e2e-numbers --wait >/dev/null
h uninstall "$RELEASE" -n "$NAMESPACE" --wait >/dev/null
expect "uninstalled: volumes of the count left" "$(k get pvc data-counting-server-0 --no-headers 2>/dev/null | wc -l)" == 1
with_counting
until_true 60 has_counted_to 0
expect "reinstalled: the last number, at least the one before" "$(last_number)" '>=' "$before"
expect_that "reinstalled: counting goes on" counts 60
start_reader
expect_every_number "reinstalled"
k delete pod e2e-numbers --wait >/dev/null
install
