# Runs every command of the table in docs/kubernetes.md, in order, from an empty cluster to none.

choose_programs
pull_store_images
# The table creates its own cluster.
kind delete cluster --name "$CLUSTER" >/dev/null 2>&1 || true

# Prints the second column without its backticks.
commands() {
    awk '/^\| today/ { table = 1; next } !/^\|/ { table = 0 } table && !/^\| ---/' docs/kubernetes.md |
        sed -E 's/^\|[^|]*\| (`+)(.*)\1 \|$/\2/'
}

# Runs a command as written, but builds single images with the same programs as the others.
# The bake file reads the same variables.
run() { bash -c "${1/#docker build /docker build --build-arg PROGRAMS --build-arg PROFILE }"; }

# Runs a command that does not end by itself in the background.
forward() {
    $1 >"$REPORT/forward.log" 2>&1 &
    background+=("$!")
    until_true 30 eval "</dev/tcp/127.0.0.1/${1##* }"
}

one_has_succeeded() { [[ $(curl -sS -m 5 "http://localhost:8003/jobs?status=succeeded") == *'"succeeded"'* ]]; }

served_to_the_client() { sql "SELECT COUNT(*) FROM round_robin.messages WHERE client_id = 'round-robin-client-0' AND served_at IS NOT NULL"; }
last_number() { curl -sS -m 5 http://localhost:5000/health | sed -E 's/.*"last_number":([0-9]+).*/\1/'; }
has_counted_to() { (($(last_number) >= $1)); }
more_is_served() { (($(served_to_the_client) > served_before + 2)); }

number=0
while IFS= read -r command <&9; do
    number=$((number + 1))
    # The metrics server takes up to a minute to report new pods.
    if [[ $command == 'kubectl top'* ]]; then until_true 120 bash -c "$command"; fi
    if [[ $command == 'kind delete'* ]]; then
        expect "volumes left after uninstalling" "$(k get pvc --no-headers | wc -l)" == 4
    fi
    if [[ $command == *port-forward* ]]; then
        expect_that "$command" forward "$command"
    else
        expect_that "$command" run "$command"
    fi
    case $command in
        'kubectl apply'*) k rollout status deployment --timeout=120s >/dev/null ;;
        'curl -X POST'*) ids_before=$(ids) && until_true 60 nothing_waits ;;
        *INSERT*) expect "rows that were inserted by hand" "$(sql 'SELECT COUNT(*) FROM `values` WHERE id IN (7, 8, 9)')" == 3 ;;
        *worker\ --replicas=5) until_true 60 workers_are 5 ;;
        *user-request-job) until_true 20 one_has_succeeded ;;
        *'delete pod '*round-robin*)
            k rollout status deployment round-robin-server --timeout=60s >/dev/null
            k rollout status statefulset round-robin-client --timeout=60s >/dev/null
            served_before=$(served_to_the_client) && until_true 30 more_is_served
            expect "gaps in the numbers of any client" "$(gaps)" == 0
            ;;
        *'delete pod '*role=client1)
            counted=$(last_number)
            expect_that "counting goes on" until_true 60 has_counted_to $((counted + 4))
            ;;
        *'delete pod --all')
            until_true 60 k rollout status deployment --timeout=1s
            until_true 60 nothing_waits
            expect "ids after all pods were deleted" "$(ids)" == "$ids_before"
            expect "broken rows" "$(broken_rows)" == 0
            ;;
    esac
done 9< <(commands)
expect "commands of the table" "$number" '>=' 40
