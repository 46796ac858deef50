# Tests from inside a pod of each service which targets it can connect to, and checks the
# rights of each service account at the API server.

installed
kubectl create namespace e2e-outside >/dev/null
kubectl -n e2e-outside run outside --image=mysql:9.7 --restart=Never --command -- sleep 600 >/dev/null
kubectl -n e2e-outside wait pod outside --for=condition=Ready --timeout=60s >/dev/null

pod_of() { pods_of "$1" --field-selector=status.phase=Running | sed -n 1p; }
address_of() { k get pod "$(pod_of "$1")" -o jsonpath='{.status.podIP}'; }

services=(mysql redis rabbitmq "${SERVICES[@]}")
targets=(
    "kubernetes $(kubectl get service kubernetes -o jsonpath='{.spec.clusterIP}') 443"
    "dns $(kubectl -n kube-system get service kube-dns -o jsonpath='{.spec.clusterIP}') 53"
    "mysql $(address_of mysql) 3306"
    "redis $(address_of redis) 6379"
    "rabbitmq $(address_of rabbitmq) 5672"
)
for served in "${SERVED[@]}"; do targets+=("${served%:*} $(address_of "${served%:*}") ${served#*:}"); done
for service in "${SERVICES[@]}"; do targets+=("$service:admin $(address_of "$service") 9090"); done

# The permitted connections; all others must be blocked.
edges="${EDGES[*]} outside>dns outside>kubernetes"
for service in "${services[@]}"; do edges+=" $service>dns"; done

# Runs in a pod: prints each target that accepts a connection. Tries all targets in
# parallel, because a dropped connection only ends by its timeout.
knock='while read -r name address port; do
    (timeout 3 bash -c "</dev/tcp/$address/$port" 2>/dev/null && echo "open $name") &
done; wait; echo done'

# reached FROM: prints the reachable targets, from a container added to one of its pods.
reached() {
    local pod list
    list=$(printf '%s\n' "${targets[@]}")
    case $1 in
        outside) kubectl -n e2e-outside exec -i outside -- bash -c "$knock" <<<"$list" ;;
        mysql | redis | rabbitmq) k exec -i "$1-0" -- bash -c "$knock" <<<"$list" ;;
        *)
            pod=$(pod_of "$1")
            k debug "$pod" --quiet --profile=restricted --image=mysql:9.7 --container=knock \
                -- bash -c "{ $knock; } <<<'$list'" >/dev/null
            until_true 30 knocked "$pod"
            k logs "$pod" -c knock
            ;;
    esac
}
knocked() { k logs "$1" -c knock | grep -q '^done'; }

wrong=0 pairs=0
printf '%-15s' 'from \ to' >"$REPORT/matrix.txt"
for target in "${targets[@]}"; do printf '%-21s' "${target%% *}" >>"$REPORT/matrix.txt"; done
for from in "${services[@]}" outside; do
    reached "$from" >"$REPORT/reached"
    grep -q '^done' "$REPORT/reached"
    printf '\n%-15s' "$from" >>"$REPORT/matrix.txt"
    for target in "${targets[@]}"; do
        to=${target%% *}
        # Policies do not restrict connections of a pod to itself.
        if [[ ${to%%:*} == "$from" ]]; then printf '%-21s' . >>"$REPORT/matrix.txt"; continue; fi
        is=refused meant=refused
        if grep -qx "open $to" "$REPORT/reached"; then is=open; fi
        if [[ " $edges " == *[[:space:]]"$from>$to"[[:space:]]* ]]; then meant=open; fi
        pairs=$((pairs + 1))
        if [[ $is != "$meant" ]]; then is="$is(!)"; wrong=$((wrong + 1)); fi
        printf '%-21s' "$is" >>"$REPORT/matrix.txt"
    done
done
printf '\n' >>"$REPORT/matrix.txt"
while IFS= read -r line; do note "$line"; done <"$REPORT/matrix.txt"
expect "pairs that differ from the policies, of $pairs" "$wrong" == 0
kubectl delete namespace e2e-outside --wait=false >/dev/null

# Omits the rights of every account: reading its own identity and the API description.
rights_of() {
    kubectl auth can-i --list -n "$NAMESPACE" --as="system:serviceaccount:$NAMESPACE:$1" --no-headers |
        awk '!/^self|^ / { $1 = $1; print }' | sort
}
for service in "${services[@]}"; do
    rights=$(rights_of "$service" | tr '\n' ';')
    note "rights of $service: ${rights:-none}"
    wanted=
    if [[ $service == worker-manager ]]; then
        wanted='deployments.apps/scale [] [worker] [get patch];pods [] [] [patch];'
    fi
    expect "rights of $service differ from its needs" "$([[ $rights == "$wanted" ]] && echo 0 || echo 1)" == 0
    token=$(k get pod "$(pod_of "$service")" -o jsonpath='{.spec.volumes[*].projected.sources[*].serviceAccountToken.path}')
    note "token in a pod of $service: ${token:-none}"
done
