{{/*
A Secret with a generated password. Upgrades read it back from the cluster, and it
outlives the release, as the volumes do.
Arguments: root, name, key, given (the initial password; random if empty).
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
