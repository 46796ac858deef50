{{/*
Network policies: all connections are denied, except those with a policy of their own.
A service's chart has both policies of each of its connections, egress and ingress, so
charts of its peers do not mention it.
*/}}

{{/* Arguments as of "ws.app". */}}
{{- define "ws.network" -}}
{{- $root := .root -}}
{{- if include "ws.network.on" $root }}
{{- $name := include "ws.name" $root }}
---
{{ include "ws.network.closed" . }}
{{- with .database }}
{{- $database := include "ws.database" (dict "root" $root "system" .) | fromYaml }}
{{- include "ws.network.edge" (dict "root" $root "to" (ternary "mysql" "" $database.bundled) "name" "mysql" "port" $database.port) }}
{{- end }}
{{- if .redis }}
{{- $redis := include "ws.redis" $root | fromYaml }}
{{- include "ws.network.edge" (dict "root" $root "to" (ternary "redis" "" $redis.bundled) "name" "redis" "port" $redis.port) }}
{{- end }}
{{- with .rabbitmq }}
{{- $rabbitmq := include "ws.rabbitmq" (dict "root" $root "system" .) | fromYaml }}
{{- include "ws.network.edge" (dict "root" $root "to" (ternary "rabbitmq" "" $rabbitmq.bundled) "name" "rabbitmq" "port" $rabbitmq.port) }}
{{- end }}
{{- if .kubernetes }}
{{- include "ws.network.edge" (dict "root" $root "to" "" "name" "kubernetes" "port" $root.Values.networkPolicy.apiServerPorts) }}
{{- end }}
{{- range $service, $port := .calls }}
{{- include "ws.network.edge" (dict "root" $root "to" $service "name" $service "port" $port) }}
{{- end }}
{{- with .server }}
{{- include "ws.network.server" (dict "root" $root "server" .) }}
{{- end }}
{{- if .http }}
---
{{ include "ws.network.served" (dict "root" $root "name" "http" "port" .http "outside" (ne $root.Values.service.type "ClusterIP")) }}
{{- end }}
{{- if include "ws.metricsOn" (list $root "serviceMonitor") }}
---
{{ include "ws.network.served" (dict "root" $root "name" "metrics" "port" 9090) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "ws.network.on" -}}
{{- if dig "networkPolicy" "enabled" true (.Values.global | default dict) }}yes{{ end }}
{{- end }}

{{- define "ws.network.head" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{- include "ws.metadata" . | nindent 2 }}
{{- end }}

{{- define "ws.network.dns" -}}
ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
to:
  - namespaceSelector:
      matchLabels: {kubernetes.io/metadata.name: kube-system}
{{- end }}

{{/* Denies everything except DNS and the peers in the values. */}}
{{- define "ws.network.closed" -}}
{{- $extra := .root.Values.networkPolicy | default dict -}}
{{ include "ws.network.head" (dict "root" .root) }}
spec:
  podSelector:
    matchLabels: {{- include "ws.selector" .root | nindent 6 }}
  policyTypes: [Ingress, Egress]
  {{- with $extra.extraIngress }}
  ingress: {{- toYaml . | nindent 4 }}
  {{- end }}
  egress:
    - {{- include "ws.network.dns" . | nindent 6 }}
    {{- with $extra.extraEgress }}{{ toYaml . | nindent 4 }}{{ end }}
{{- end }}

{{/*
A connection of this service: egress from its pods, and ingress to those of `to`, a
service of this release; without `to`, egress to any address.
Arguments: root, to, name, port (one or a list).
*/}}
{{- define "ws.network.edge" -}}
{{- $from := include "ws.name" .root -}}
{{- $ports := list }}
{{- range (kindIs "slice" .port | ternary .port (list .port)) }}{{ $ports = append $ports (dict "port" (int .) "protocol" "TCP") }}{{ end }}
---
{{ include "ws.network.head" (dict "root" .root "name" (printf "%s-to-%s" $from .name)) }}
spec:
  podSelector:
    matchLabels: {{- include "ws.selector" .root | nindent 6 }}
  policyTypes: [Egress]
  egress:
    - ports: {{ toJson $ports }}
      {{- with .to }}
      to:
        - podSelector:
            matchLabels: {app.kubernetes.io/name: {{ . }}}
      {{- end }}
{{- with .to }}
---
{{ include "ws.network.head" (dict "root" $.root "name" (printf "%s-from-%s" . $from)) }}
spec:
  podSelector:
    matchLabels: {app.kubernetes.io/name: {{ . }}}
  policyTypes: [Ingress]
  ingress:
    - ports: {{ toJson $ports }}
      from:
        - podSelector:
            matchLabels: {{- include "ws.selector" $.root | nindent 14 }}
{{- end }}
{{- end }}

{{/*
The connection to the server at the value serverUrl: a service of this release, or any address.
Arguments: root, server (the service, with the port on which it listens).
*/}}
{{- define "ws.network.server" -}}
{{- $url := urlParse .root.Values.serverUrl -}}
{{- $server := first (keys .server) -}}
{{- if eq $url.hostname $server }}
{{- include "ws.network.edge" (dict "root" .root "to" $server "name" $server "port" (get .server $server)) }}
{{- else }}
{{- $default := ternary "443" "80" (hasSuffix "s" $url.scheme) }}
{{- include "ws.network.edge" (dict "root" .root "to" "" "name" "server" "port" (regexFind "[0-9]+$" $url.host | default $default)) }}
{{- end }}
{{- end }}

{{/*
Ingress from other namespaces: an ingress controller, a gateway, Prometheus.
Arguments: root, name, port, outside (optional; true: also from addresses outside of the
cluster, for a Service of type NodePort or LoadBalancer. Pods of this release connect to
none but their peers all the same, because their egress is restricted, too).
*/}}
{{- define "ws.network.served" -}}
{{ include "ws.network.head" (dict "root" .root "name" (printf "%s-%s" (include "ws.name" .root) .name)) }}
spec:
  podSelector:
    matchLabels: {{- include "ws.selector" .root | nindent 6 }}
  policyTypes: [Ingress]
  ingress:
    - ports: [{port: {{ .port }}, protocol: TCP}]
      {{- if not .outside }}
      from:
        - namespaceSelector:
            matchExpressions:
              - {key: kubernetes.io/metadata.name, operator: NotIn, values: [{{ .root.Release.Namespace }}]}
      {{- end }}
{{- end }}
