{{/* Autoscaler and disruption budget. Arguments as of "ws.app". */}}

{{- define "ws.scaling" -}}
{{- $values := .root.Values -}}
{{- $least := $values.replicas -}}
{{- if ($values.autoscaling).enabled }}
{{- $least = $values.autoscaling.minReplicas }}
---
{{ include "ws.autoscaler" . }}
{{- end }}
{{- $others := eq (.replicas | default "") "others" }}
{{- if and $values.pdb.enabled (or $others (gt (int $least) 1)) }}
---
{{ include "ws.pdb" . }}
{{- end }}
{{- end }}

{{- define "ws.autoscaler" -}}
{{- $autoscaling := .root.Values.autoscaling -}}
{{- if gt (int $autoscaling.minReplicas) (int $autoscaling.maxReplicas) }}
{{- fail (printf "%s.autoscaling: minReplicas is %v, more than maxReplicas, %v." (include "ws.name" .root) $autoscaling.minReplicas $autoscaling.maxReplicas) }}
{{- end -}}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {{- include "ws.metadata" . | nindent 2 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: {{ include "ws.name" .root }}
  minReplicas: {{ $autoscaling.minReplicas }}
  maxReplicas: {{ $autoscaling.maxReplicas }}
  metrics:
    - type: Resource
      resource:
        name: cpu
        target: {type: Utilization, averageUtilization: {{ $autoscaling.targetCPUUtilizationPercentage }}}
  behavior:
    scaleDown: {stabilizationWindowSeconds: {{ $autoscaling.scaleDownStabilizationSeconds }}}
{{- end }}

{{/* Not with a single pod: the budget would block every drain of its node. */}}
{{- define "ws.pdb" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {{- include "ws.metadata" . | nindent 2 }}
spec:
  maxUnavailable: {{ .root.Values.pdb.maxUnavailable }}
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels: {{- include "ws.selector" .root | nindent 6 }}
{{- end }}
