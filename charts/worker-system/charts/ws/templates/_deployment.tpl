{{/* The Deployments or the StatefulSet. Arguments as of "ws.app". */}}

{{- define "ws.serviceAccount" -}}
apiVersion: v1
kind: ServiceAccount
metadata: {{- include "ws.metadata" . | nindent 2 }}
automountServiceAccountToken: false
{{- end }}

{{- define "ws.workloads" -}}
{{- if .roles }}
{{- range $role, $name := .roles }}
---
{{ include "ws.workload" (merge (dict "role" $role "name" $name) $) }}
{{- end }}
{{- else }}
---
{{ include "ws.workload" . }}
{{- end }}
{{- end }}

{{/*
spec.replicas has one owner: an autoscaler, another component, or this chart.
Arguments as of "ws.app", and for a Deployment of a role: role, name.
*/}}
{{- define "ws.workload" -}}
{{- $root := .root -}}
{{- $stable := include "ws.stable" . -}}
apiVersion: apps/v1
kind: {{ ternary "StatefulSet" "Deployment" (ne $stable "") }}
metadata: {{- include "ws.metadata" . | nindent 2 }}
spec:
  {{- if .role }}
  replicas: 1
  {{- else if not (or (eq (.replicas | default "") "others") ($root.Values.autoscaling).enabled) }}
  replicas: {{ $root.Values.replicas }}
  {{- end }}
  revisionHistoryLimit: 3
  {{- if $stable }}
  serviceName: {{ include "ws.name" $root }}
  # Pods do not wait for each other.
  podManagementPolicy: Parallel
  {{- else if .role }}
  # A second pod could only wait until the first one leaves the role.
  strategy: {type: Recreate}
  {{- else }}
  strategy:
    rollingUpdate: {maxSurge: 1, maxUnavailable: 0}
  {{- end }}
  selector:
    matchLabels: {{- include "ws.roleSelector" . | nindent 6 }}
  template: {{- include "ws.pod" . | nindent 4 }}
  {{- if include "ws.volume.persistent" . }}
  # What remains after `kubectl delete statefulset` and `helm uninstall`.
  persistentVolumeClaimRetentionPolicy: {whenDeleted: {{ $root.Values.persistence.retention }}, whenScaled: Retain}
  {{- include "ws.volumeClaim" (dict "root" $root "size" $root.Values.persistence.size "storageClass" $root.Values.persistence.storageClass) | nindent 2 }}
  {{- end }}
{{- end }}

{{/* Whether a pod that is replaced keeps its name. */}}
{{- define "ws.stable" -}}
{{- if or .stable .volume }}yes{{ end }}
{{- end }}
