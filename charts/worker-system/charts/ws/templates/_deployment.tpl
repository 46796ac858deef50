{{/* The Deployment or StatefulSet. Arguments as of "ws.app". */}}

{{- define "ws.serviceAccount" -}}
apiVersion: v1
kind: ServiceAccount
metadata: {{- include "ws.metadata" . | nindent 2 }}
automountServiceAccountToken: false
{{- end }}

{{/* spec.replicas has one owner: an autoscaler, another component, or this chart. */}}
{{- define "ws.workload" -}}
{{- $root := .root -}}
apiVersion: apps/v1
kind: {{ ternary "StatefulSet" "Deployment" (.stable | default false) }}
metadata: {{- include "ws.metadata" . | nindent 2 }}
spec:
  {{- if not (or (eq (.replicas | default "") "others") ($root.Values.autoscaling).enabled) }}
  replicas: {{ $root.Values.replicas }}
  {{- end }}
  revisionHistoryLimit: 3
  {{- if .stable }}
  serviceName: {{ include "ws.name" $root }}
  # Pods do not wait for each other.
  podManagementPolicy: Parallel
  {{- else }}
  strategy:
    rollingUpdate: {maxSurge: 1, maxUnavailable: 0}
  {{- end }}
  selector:
    matchLabels: {{- include "ws.selector" $root | nindent 6 }}
  template: {{- include "ws.pod" . | nindent 4 }}
{{- end }}
