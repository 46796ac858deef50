{{/* For clusters with the Prometheus operator and Grafana's sidecar. Arguments as of "ws.app". */}}

{{- define "ws.monitoring" -}}
{{- $root := .root -}}
{{- if include "ws.metricsOn" (list $root "serviceMonitor") }}
---
{{ include "ws.serviceMonitor" . }}
{{- end }}
{{- if include "ws.metricsOn" (list $root "rules") }}
{{- with $root.Files.Get "files/rules.yaml" }}
---
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  {{- include "ws.metadata" $ | nindent 2 }}
    {{- with $root.Values.metrics.rules.labels }}{{ toYaml . | nindent 4 }}{{ end }}
spec: {{- . | nindent 2 }}
{{- end }}
{{- end }}
{{- if include "ws.metricsOn" (list $root "dashboard") }}
{{- if $root.Files.Get "files/dashboard.yaml" }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  {{- include "ws.metadata" (dict "root" $root "name" (printf "%s-dashboard" (include "ws.name" $root))) | nindent 2 }}
    {{- with $root.Values.metrics.dashboard.labels }}{{ toYaml . | nindent 4 }}{{ end }}
data:
  {{ include "ws.name" $root }}.json: {{ include "ws.dashboard" $root | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- define "ws.serviceMonitor" -}}
{{- $monitor := .root.Values.metrics.serviceMonitor -}}
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata:
  {{- include "ws.metadata" . | nindent 2 }}
    {{- with $monitor.labels }}{{ toYaml . | nindent 4 }}{{ end }}
spec:
  selector:
    matchLabels: {{- include "ws.selector" .root | nindent 6 }}
  endpoints:
    - port: admin
      interval: {{ $monitor.interval | default "15s" }}
{{- end }}
