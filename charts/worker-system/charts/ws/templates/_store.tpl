{{/*
A store for development: one pod of an official image, on a volume.

Arguments, the last four optional:
  root         $ of the store's chart
  port         on which it listens; its name is the chart's
  data         the path where its volume is mounted
  ping         the command of its probes, a list
  command      of the container, a list, and
  args         of the container, a list
  env          environment variables, as YAML
  mounts       further volumeMounts, as YAML, of
  volumes      further volumes, as YAML
*/}}
{{- define "ws.store" -}}
{{ include "ws.serviceAccount" . }}
---
apiVersion: v1
kind: Service
metadata: {{- include "ws.metadata" . | nindent 2 }}
spec:
  selector: {{- include "ws.selector" .root | nindent 4 }}
  ports:
    - {name: {{ .root.Chart.Name }}, port: {{ .port }}, targetPort: {{ .root.Chart.Name }}}
{{- if include "ws.network.on" .root }}
---
{{ include "ws.network.closed" . }}
{{- end }}
---
{{ include "ws.store.statefulSet" . }}
{{- end }}

{{- define "ws.store.statefulSet" -}}
{{- $values := .root.Values -}}
apiVersion: apps/v1
kind: StatefulSet
metadata: {{- include "ws.metadata" . | nindent 2 }}
spec:
  replicas: 1
  serviceName: {{ include "ws.name" .root }}
  selector:
    matchLabels: {{- include "ws.selector" .root | nindent 6 }}
  template:
    metadata:
      labels: {{- include "ws.podLabels" .root | nindent 8 }}
        {{- with $values.podLabels }}{{ toYaml . | nindent 8 }}{{ end }}
      {{- $annotations := $values.podAnnotations }}
      {{- with .root.Files.Get "files/start" }}{{ $annotations = merge (dict "checksum/start" (sha256sum .)) $annotations }}{{ end }}
      {{- with $annotations }}
      annotations: {{- toYaml . | nindent 8 }}
      {{- end }}
    spec:
      serviceAccountName: {{ include "ws.name" .root }}
      automountServiceAccountToken: false
      enableServiceLinks: false
      terminationGracePeriodSeconds: 60
      securityContext: {{- include "ws.podSecurity" (dict "user" 999) | nindent 8 }}
      {{- with $values.imagePullSecrets | default (($values.global).imagePullSecrets) }}
      imagePullSecrets: {{- toYaml . | nindent 8 }}
      {{- end }}
      containers:
        - {{- include "ws.store.container" . | nindent 10 }}
      volumes:
        - name: tmp
          emptyDir: {sizeLimit: 1Gi}
        {{- with .volumes }}{{ . | nindent 8 }}{{ end }}
      {{- include "ws.placement" .root | nindent 6 }}
  {{- include "ws.volumeClaim" (dict "root" .root "size" $values.storage.size "storageClass" $values.storage.className) | nindent 2 }}
{{- end }}

{{- define "ws.store.container" -}}
{{- $values := .root.Values -}}
name: {{ .root.Chart.Name }}
{{- /* Registry and tag of global.image are those of our own images. */}}
image: {{ include "ws.image" (dict "Chart" .root.Chart "Values" (omit $values "global")) }}
imagePullPolicy: {{ $values.image.pullPolicy }}
securityContext: {{- include "ws.containerSecurity" .root | nindent 2 }}
{{- with .command }}
command: {{- toYaml . | nindent 2 }}
{{- end }}
args: {{- toYaml .args | nindent 2 }}
env: {{- .env | nindent 2 }}
ports:
  - {name: {{ .root.Chart.Name }}, containerPort: {{ .port }}}
startupProbe:
  exec: &ping {command: {{ toJson .ping }}}
  periodSeconds: 1
  timeoutSeconds: 5
  failureThreshold: 300
livenessProbe:
  exec: *ping
  periodSeconds: 20
  timeoutSeconds: 10
  failureThreshold: 6
readinessProbe:
  exec: *ping
  periodSeconds: 5
  timeoutSeconds: 5
resources: {{- toYaml $values.resources | nindent 2 }}
volumeMounts:
  - {name: data, mountPath: {{ .data }}}
  - {name: tmp, mountPath: /tmp}
  {{- with .mounts }}{{ . | nindent 2 }}{{ end }}
{{- end }}

{{/*
The host of a store: an external one or the bundled one. Both is an error.
Arguments: root, store (its key in `global`, and the name of its chart), name, and
for errors: missing (what is not there), whose (address to set).
*/}}
{{- define "ws.store.host" -}}
{{- $values := index (.root.Values.global | default dict) .store | default dict -}}
{{- $bundled := dig "bundled" false $values -}}
{{- if and $values.host $bundled -}}
{{- fail (printf "global.%s.host is set: then set global.%s.bundled=false too, or nothing would use the bundled %s." .store .store .name) -}}
{{- end -}}
{{- if not (or $values.host $bundled) -}}
{{- fail (printf "%s: there is no %s. Set global.%s.host to your %s address, or global.%s.bundled=true in the worker-system chart." (include "ws.name" .root) .missing .store .whose .store) -}}
{{- end -}}
{{ $values.host | default .store }}
{{- end }}
