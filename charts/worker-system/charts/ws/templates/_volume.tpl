{{/* The volume of a service. Arguments as of "ws.app". */}}

{{/* Whether it outlives the pod. */}}
{{- define "ws.volume.persistent" -}}
{{- if and .volume .root.Values.persistence.enabled }}yes{{ end }}
{{- end }}

{{/* Of the pod: only a volume that ends with it. */}}
{{- define "ws.volume.ephemeral" -}}
{{- if and .volume (not (include "ws.volume.persistent" .)) }}
- name: data
  emptyDir: {sizeLimit: {{ .root.Values.persistence.size }}}
{{- end }}
{{- end }}

{{/*
The claim of each pod of a StatefulSet, for the volume `data`.
Arguments: root, size, storageClass (the cluster's default if empty).
*/}}
{{- define "ws.volumeClaim" -}}
# Selector labels only: Kubernetes forbids changes of this template.
volumeClaimTemplates:
  - metadata:
      name: data
      labels: {{- include "ws.selector" .root | nindent 8 }}
    spec:
      accessModes: [ReadWriteOnce]
      {{- with .storageClass }}
      storageClassName: {{ . }}
      {{- end }}
      resources:
        requests: {storage: {{ .size }}}
{{- end }}
