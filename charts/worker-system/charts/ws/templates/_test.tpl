{{/*
A pod for `helm test` that proves a service from inside the cluster: it runs the
chart's files/test, a bash script, which reaches the service along an edge of its
own. Arguments: root, port (the service's).
*/}}
{{- define "ws.test" -}}
{{- $service := include "ws.name" .root -}}
{{- $name := printf "%s-test" $service -}}
{{- $labels := dict "app.kubernetes.io/name" $name "app.kubernetes.io/instance" .root.Release.Name "app.kubernetes.io/part-of" "worker-system" -}}
{{- if include "ws.network.on" .root }}
{{- include "ws.network.testEdges" (dict "root" .root "name" $name "port" .port) }}
---
{{- end }}
apiVersion: v1
kind: ConfigMap
metadata:
  {{- include "ws.metadata" (dict "root" .root "name" $name) | nindent 2 }}
  annotations: {helm.sh/hook: test, helm.sh/hook-weight: "-1"}
data:
  test: {{ .root.Files.Get "files/test" | toYaml | nindent 4 }}
---
apiVersion: v1
kind: Pod
metadata:
  name: {{ $name }}
  labels: {{- toYaml $labels | nindent 4 }}
  annotations: {helm.sh/hook: test}
spec:
  restartPolicy: Never
  automountServiceAccountToken: false
  enableServiceLinks: false
  securityContext: {{- include "ws.podSecurity" (dict "user" 65532) | nindent 4 }}
  {{- with .root.Values.imagePullSecrets | default ((.root.Values.global).imagePullSecrets) }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: test
      image: {{ .root.Values.test.image }}
      command: [bash, /test/test, {{ $service }}, {{ .root.Values.service.port | quote }}]
      securityContext: {{- include "ws.containerSecurity" .root | nindent 8 }}
      resources:
        requests: {cpu: 10m, memory: 16Mi}
        limits: {memory: 64Mi}
      volumeMounts:
        - {name: test, mountPath: /test}
  volumes:
    - name: test
      configMap: {name: {{ $name }}}
{{- end }}

{{/* They are there before the first test, since a policy may take a moment to hold. */}}
{{- define "ws.network.testEdges" -}}
{{- $service := include "ws.name" .root -}}
{{- $selector := dict "app.kubernetes.io/name" .name "app.kubernetes.io/instance" .root.Release.Name -}}
---
{{ include "ws.network.head" (dict "root" .root "name" .name) }}
spec:
  podSelector:
    matchLabels: {{- toYaml $selector | nindent 6 }}
  policyTypes: [Ingress, Egress]
  egress:
    - {{- include "ws.network.dns" . | nindent 6 }}
    - ports: [{port: {{ .port }}, protocol: TCP}]
      to:
        - podSelector:
            matchLabels: {{- include "ws.selector" .root | nindent 14 }}
---
{{ include "ws.network.head" (dict "root" .root "name" (printf "%s-from-%s" $service .name)) }}
spec:
  podSelector:
    matchLabels: {{- include "ws.selector" .root | nindent 6 }}
  policyTypes: [Ingress]
  ingress:
    - ports: [{port: {{ .port }}, protocol: TCP}]
      from:
        - podSelector:
            matchLabels: {{- toYaml $selector | nindent 14 }}
{{- end }}
