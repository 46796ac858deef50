# Checks that the API server accepts the charts: every variation, and each subchart alone.
# (tests/charts validates the kinds that a plain cluster lacks.)

has_cluster || cluster
external=(--set global.mysql.bundled=false --set global.mysql.host=db.example.com
    --set global.redis.bundled=false --set global.redis.host=redis.example.com
    --set global.rabbitmq.bundled=false --set global.rabbitmq.host=mq.example.com)
lint() { h lint --strict "$1" "${external[@]}"; }
for chart in "$CHART" "$CHART"/charts/*/; do
    [[ $(basename "$chart") == ws ]] || expect_that "helm lint --strict $(basename "$chart")" lint "$chart"
done

restricted_namespace e2e-dry

# accepted WHAT HELM ARGUMENT...: the API server accepts the objects without a warning.
accepted() {
    local what=$1
    shift
    h template e2e -n e2e-dry "$@" >"$REPORT/rendered.yaml" &&
        kubectl apply --server-side --dry-run=server -n e2e-dry -f "$REPORT/rendered.yaml" >"$REPORT/dry-run.log" 2>&1 &&
        ! grep -i warning "$REPORT/dry-run.log"
}
while read -r what arguments; do
    # shellcheck disable=SC2086 # each line is a list of arguments
    expect_that "accepted: $what" accepted "$what" "$CHART" $arguments
done <<'LIST'
default
external-mysql --set global.mysql.bundled=false --set global.mysql.host=db.example.com --set global.mysql.tls.mode=verify_ca --set global.mysql.tls.caSecret.name=ca
own-secrets --set mysql.existingSecret.name=root --set global.mysql.databases.values.existingSecret.name=ours
manual-scaling --set worker-manager.scaling.mode=manual
fixed-replicas --set values-api.autoscaling.enabled=false --set values-api.replicas=3
node-port --set values-api.service.type=NodePort --set values-api.service.nodePort=30999
load-balancer --set values-api.service.type=LoadBalancer
tls-ingress --set values-api.ingress.tlsSecret=tls --set values-api.ingress.className=nginx
no-ingress --set values-api.ingress.enabled=false
no-policies --set global.networkPolicy.enabled=false
own-registry --set global.image.registry=registry.example.com/team --set global.image.tag=1.2.3 --set global.imagePullSecrets[0].name=pull
dashboards --set global.metrics.dashboard.enabled=true
without-worker --set worker.enabled=false
without-worker-manager --set worker-manager.enabled=false
without-values-api --set values-api.enabled=false
external-redis --set global.redis.bundled=false --set global.redis.host=redis.example.com --set global.redis.tls=true --set global.redis.existingSecret.name=ours
visits-by-secret --set visit-counter.existingSecret=devops-challenge-env
external-rabbitmq --set global.rabbitmq.bundled=false --set global.rabbitmq.host=mq.example.com --set global.rabbitmq.tls=true --set global.rabbitmq.users.jobs.existingSecret.name=ours
without-jobs --set main-app.enabled=false --set service-app.enabled=false --set global.rabbitmq.bundled=false
without-round-robin --set round-robin-server.enabled=false --set round-robin-client.enabled=false
server-elsewhere --set round-robin-server.enabled=false --set round-robin-client.serverUrl=https://server.example.com
cloud-load-balancer --set round-robin-server.service.annotations.a=b --set round-robin-server.service.loadBalancerSourceRanges[0]=10.0.0.0/8
by-ingress-only --set round-robin-server.service.type=ClusterIP --set round-robin-server.retention=7days
without-counting --set counting-server.enabled=false --set counting-client.enabled=false
numbers-without-volume --set counting-server.persistence.enabled=false
numbers-on-another-class --set counting-server.persistence.size=20Gi --set counting-server.persistence.storageClass=fast --set counting-server.persistence.retention=Delete
counting-server-elsewhere --set counting-server.enabled=false --set counting-client.serverUrl=https://counting.example.com
without-visit-counter --set visit-counter.enabled=false --set global.redis.bundled=false
LIST
for subchart in "${SERVICES[@]}"; do
    expect_that "accepted: $subchart alone" accepted "$subchart" "$CHART/charts/$subchart" "${external[@]}"
done
for subchart in mysql redis rabbitmq; do
    expect_that "accepted: $subchart alone" accepted "$subchart" "$CHART/charts/$subchart"
done
kubectl delete namespace e2e-dry --wait=false >/dev/null
