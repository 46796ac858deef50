{{/*
A pod that meets Pod Security `restricted`, with probes of the admin listener.
Arguments as of "ws.workload".
*/}}
{{- define "ws.pod" -}}
{{- $root := .root -}}
{{- $values := $root.Values -}}
metadata:
  labels: {{- include "ws.podLabels" $root | nindent 4 }}
    {{- with .role }}
    role: {{ . }}
    {{- end }}
    {{- with $values.podLabels }}{{ toYaml . | nindent 4 }}{{ end }}
  annotations:
    kubectl.kubernetes.io/default-container: {{ include "ws.name" $root }}
    {{- with $values.podAnnotations }}{{ toYaml . | nindent 4 }}{{ end }}
spec:
  serviceAccountName: {{ include "ws.name" $root }}
  automountServiceAccountToken: {{ .kubernetes | default false }}
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ add $values.shutdown.delaySeconds $values.shutdown.graceSeconds 5 }}
  securityContext: {{- include "ws.podSecurity" (dict "user" 65532) | nindent 4 }}
  {{- with $values.imagePullSecrets | default (($values.global).imagePullSecrets) }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - {{- include "ws.container" . | nindent 6 }}
  volumes:
    - name: tmp
      emptyDir: {sizeLimit: 64Mi}
    {{- with include "ws.volume.ephemeral" . }}{{ . | nindent 4 }}{{ end }}
    {{- with .database }}{{ include "ws.database.volume" $root | nindent 4 }}{{ end }}
  {{- if $values.topologySpread }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels: {{- include "ws.selector" $root | nindent 10 }}
  {{- end }}
  {{- include "ws.placement" $root | nindent 2 }}
{{- end }}

{{- define "ws.container" -}}
{{- $root := .root -}}
{{- $values := $root.Values -}}
name: {{ include "ws.name" $root }}
image: {{ include "ws.image" $root }}
imagePullPolicy: {{ $values.image.pullPolicy }}
securityContext: {{- include "ws.containerSecurity" $root | nindent 2 }}
env:
  - name: SHUTDOWN_GRACE
    value: {{ printf "%ds" (int $values.shutdown.graceSeconds) }}
  {{- with .database }}{{ include "ws.database.env" (dict "root" $root "system" .) | nindent 2 }}{{ end }}
  {{- if .redis }}{{ include "ws.redis.env" $root | nindent 2 }}{{ end }}
  {{- with .rabbitmq }}{{ include "ws.rabbitmq.env" (dict "root" $root "system" .) | nindent 2 }}{{ end }}
  {{- with .volume }}
  - name: DATA_DIR
    value: {{ . }}
  {{- end }}
  {{- with .role }}
  - name: ROLE
    value: {{ . }}
  {{- end }}
  {{- with .env }}{{ . | nindent 2 }}{{ end }}
  {{- range $name, $value := $values.env }}
  - name: {{ $name }}
    value: {{ $value | quote }}
  {{- end }}
{{- with .envFrom }}
envFrom:
  - secretRef: {name: {{ . }}}
{{- end }}
ports:
  {{- with .http }}
  - {name: http, containerPort: {{ . }}}
  {{- end }}
  - {name: admin, containerPort: 9090}
startupProbe:
  httpGet: {path: /livez, port: admin}
  periodSeconds: 1
  failureThreshold: 30
livenessProbe:
  httpGet: {path: /livez, port: admin}
  periodSeconds: 10
  timeoutSeconds: 3
readinessProbe:
  httpGet: {path: /readyz, port: admin}
  periodSeconds: 2
  timeoutSeconds: 2
{{- with $values.shutdown.delaySeconds }}
lifecycle:
  preStop:
    sleep: {seconds: {{ . }}}
{{- end }}
resources: {{- toYaml $values.resources | nindent 2 }}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  {{- with .volume }}
  - {name: data, mountPath: {{ . }}}
  {{- end }}
  {{- with .database }}{{ include "ws.database.mount" $root | nindent 2 }}{{ end }}
{{- end }}

{{- define "ws.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ .user }}
runAsGroup: {{ .user }}
fsGroup: {{ .user }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "ws.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* The nodes on which a pod may run. */}}
{{- define "ws.placement" -}}
{{- range $field := list "nodeSelector" "tolerations" "affinity" }}
{{- with index $.Values $field }}
{{ $field }}: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}
