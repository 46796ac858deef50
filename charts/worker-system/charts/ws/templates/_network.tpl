{{/*
Who may talk to whom: nobody, except along an edge that has a policy of its own.
A service's chart brings its own edges, both halves, so its peers need not know it.
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
{{- if .http }}
---
{{ include "ws.network.served" (dict "root" $root "name" "http" "port" .http) }}
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

{{/* Nothing in, nothing out but DNS, and what the values add. */}}
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
An edge from this service: out of its pods, and into those of `to`, a service of
this release; without `to`, out to any address.
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

{{/* A port for other namespaces: an ingress controller, a gateway, Prometheus. */}}
{{- define "ws.network.served" -}}
{{ include "ws.network.head" (dict "root" .root "name" (printf "%s-%s" (include "ws.name" .root) .name)) }}
spec:
  podSelector:
    matchLabels: {{- include "ws.selector" .root | nindent 6 }}
  policyTypes: [Ingress]
  ingress:
    - ports: [{port: {{ .port }}, protocol: TCP}]
      from:
        - namespaceSelector:
            matchExpressions:
              - {key: kubernetes.io/metadata.name, operator: NotIn, values: [{{ .root.Release.Namespace }}]}
{{- end }}
