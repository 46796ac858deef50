# Tests on three nodes: pods spread over them; a node loses and regains its network; a
# node fails; the node of the leading manager fails.

if [[ $(kind cut no-such-node 2>&1 || true) != *"no such node"* ]]; then
    skip "dying nodes and cut links: this kind has no commands for them"
    return
fi

cluster three-nodes
quiet_node=$CLUSTER-control-plane
# One manager on each node. MySQL runs on the node that gets no faults.
install --set-json "mysql.nodeSelector={\"kubernetes.io/hostname\": \"$quiet_node\"}" --set-json 'mysql.tolerations=[{"operator": "Exists"}]' \
    --set worker-manager.replicas=3 --set worker-manager.scaling.min=12
countable
until_true 60 workers_are 12
k rollout status deployment --timeout=60s >/dev/null
sql 'INSERT INTO `values` (value) WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 60) SELECT i FROM n'
until_true 30 nothing_waits

mapfile -t nodes < <(kubectl get nodes -o custom-columns=:metadata.name --no-headers)
on_node() { pods_of "$1" --field-selector="spec.nodeName=$2,status.phase=Running"; }
node_of() { k get pod "$1" -o jsonpath='{.spec.nodeName}'; }
for service in worker worker-manager; do
    counts=$(for node in "${nodes[@]}"; do on_node "$service" "$node" | wc -l; done | sort -n)
    note "$service: $(tr '\n' ' ' <<<"$counts")on ${#nodes[@]} nodes"
    expect "$service: most on one node minus fewest" $(($(tail -1 <<<"$counts") - $(head -1 <<<"$counts"))) '<=' 1
done

leads_elsewhere() { [[ $(leader) != "$1" ]]; }
while [[ $(node_of "$(leader)") == "$quiet_node" ]]; do
    was=$(leader)
    k delete pod "$was" >/dev/null
    until_true 20 leads_elsewhere "$was"
    k rollout status deployment worker-manager --timeout=60s >/dev/null
done
leading=$(node_of "$(leader)")
follows=$(printf '%s\n' "${nodes[@]}" | grep -vxF -e "$quiet_node" -e "$leading")
sample "$REPORT/nodes.samples"

# all_elsewhere SINCE_MS IDS POD...: reads the rows twenty times a second, and prints when
# all IDS (separated by commas) have ticked under an owner other than these pods. It does
# not use logs, because a failing node may lose some.
all_elsewhere() {
    local names
    names=$(printf "'%s'," "${@:3}")
    sql_every 0.05 "SELECT ROUND(unix_timestamp(now(3)) * 1000), COUNT(*) FROM \`values\` JOIN workers ON incarnation = owner
            WHERE id IN ($2) AND name NOT IN (${names%,}) AND last_tick > $(($1 / 1000)) AND last_tick >= unix_timestamp() - 1" |
        awk -v all="$(tr -cd , <<<"$2," | wc -c)" -v since="$1" '$2 == all { print $1; exit } $1 > since + 30000 { exit }'
}

# struck WHAT NODE COMMAND...: disables the node with the command, and checks that the ids
# of its workers tick elsewhere within 3 s.
struck() {
    local what=$1 node=$2 doomed ids at
    shift 2
    mapfile -t doomed < <(on_node worker "$node")
    ids=$(ids_of "${doomed[@]}" | paste -sd,)
    since=$(milliseconds)
    "$@"
    at=$(all_elsewhere "$since" "$ids" "${doomed[@]}") || true
    expect "$what with ${#doomed[@]} workers: until all of their ids tick elsewhere, in ms" $((${at:-since + 30000} - since)) '<=' 3000
    note "$what: the node has Ready=$(kubectl get node "$node" -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}')"
}

struck "a node's link is cut" "$follows" kind cut "$follows"
sleep "$(awk "BEGIN { s = 20 - ($(milliseconds) - $since) / 1000; print (s > 0 ? s : 0) }")"
kind heal "$follows"
note "network restored after $(($(milliseconds) - since)) ms"
registered_again() { [[ $(sql "SELECT COUNT(*) FROM workers WHERE state = 'active'") == 12 ]]; }
until_true 60 registered_again
until_true 30 nothing_waits
sleep 5
counted

struck "a node dies" "$follows" kind kill "$follows"
sleep 5
counted

term=$(sql 'SELECT term FROM manager_lease')
struck "the leading manager's node dies" "$leading" kind kill "$leading"
expect "the leading manager's node dies: until another leads, in ms" \
    "$(awk -v since="$since" -v term="$term" '$4 > term { print $1 - since; exit }' "$REPORT/nodes.samples")" '<=' 2000
sleep 5
counted

stop_sampling
expect "broken rows, most in any sample" "$(most_broken "$REPORT/nodes.samples")" == 0
