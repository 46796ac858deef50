{{/* The Deployment. Arguments as of "ws.app". */}}

{{- define "ws.serviceAccount" -}}
apiVersion: v1
kind: ServiceAccount
metadata: {{- include "ws.metadata" . | nindent 2 }}
automountServiceAccountToken: false
{{- end }}

{{/* spec.replicas has one owner: an autoscaler, another component, or this chart. */}}
{{- define "ws.deployment" -}}
{{- $root := .root -}}
apiVersion: apps/v1
kind: Deployment
metadata: {{- include "ws.metadata" . | nindent 2 }}
spec:
  {{- if not (or (eq (.replicas | default "") "others") ($root.Values.autoscaling).enabled) }}
  replicas: {{ $root.Values.replicas }}
  {{- end }}
  revisionHistoryLimit: 3
  strategy:
    rollingUpdate: {maxSurge: 1, maxUnavailable: 0}
  selector:
    matchLabels: {{- include "ws.selector" $root | nindent 6 }}
  template: {{- include "ws.pod" . | nindent 4 }}
{{- end }}
