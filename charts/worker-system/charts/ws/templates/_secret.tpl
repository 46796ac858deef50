{{/*
A Secret with a password that is made once: it is read back from the cluster ever
after, and outlives the release, as the volumes do.
Arguments: root, name, key, given (the password to begin with; random if empty).
*/}}
{{- define "ws.secret" -}}
{{- $there := lookup "v1" "Secret" .root.Release.Namespace .name | default dict -}}
apiVersion: v1
kind: Secret
metadata:
  {{- include "ws.metadata" . | nindent 2 }}
  annotations:
    helm.sh/resource-policy: keep
data:
  {{ .key }}: {{ dig "data" .key "" $there | default (.given | default (randAlphaNum 32) | b64enc) }}
{{- end }}
