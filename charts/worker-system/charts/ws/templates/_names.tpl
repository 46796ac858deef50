{{/* Names, labels, images. There is one release per namespace, so names have no prefix. */}}

{{- define "ws.name" -}}
{{ .Chart.Name }}
{{- end }}

{{- define "ws.selector" -}}
app.kubernetes.io/name: {{ include "ws.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Of the pods of one role, or of all. Arguments as of "ws.workload". */}}
{{- define "ws.roleSelector" -}}
{{ include "ws.selector" .root }}
{{- with .role }}
role: {{ . }}
{{- end }}
{{- end }}

{{/* Of pods: without the chart's version, so that a new one does not restart them. */}}
{{- define "ws.podLabels" -}}
{{ include "ws.selector" . }}
app.kubernetes.io/part-of: worker-system
{{- end }}

{{- define "ws.labels" -}}
{{ include "ws.podLabels" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* The metadata of an object: (dict "root" $ "name" "…" "role" "…"); the service's name by default. */}}
{{- define "ws.metadata" -}}
name: {{ .name | default (include "ws.name" .root) }}
labels: {{- include "ws.labels" .root | nindent 2 }}
  {{- with .role }}
  role: {{ . }}
  {{- end }}
{{- end }}

{{/* registry/repository:tag@digest, without the parts that are not set. */}}
{{- define "ws.image" -}}
{{- $image := .Values.image -}}
{{- $registry := $image.registry | default (((.Values.global).image).registry) -}}
{{- $tag := $image.tag | default (((.Values.global).image).tag) | default .Chart.AppVersion -}}
{{- with $registry }}{{ . }}/{{ end }}{{ $image.repository }}:{{ $tag }}{{ with $image.digest }}@{{ . }}{{ end }}
{{- end }}

{{/* Whether an opt-in is on, for this service or for all: (list $ "serviceMonitor") */}}
{{- define "ws.metricsOn" -}}
{{- $root := index . 0 -}}
{{- $what := index . 1 -}}
{{- if or (dig $what "enabled" false $root.Values.metrics) (dig "metrics" $what "enabled" false ($root.Values.global | default dict)) }}yes{{ end }}
{{- end }}
