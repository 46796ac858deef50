{{/*
A pod for `helm test` that tests a service from inside the cluster. It runs the chart's
files/test, a bash script that can call the functions below; network policies permit its
connection to the service. Arguments: root, port (on which the service listens), and for the test
of a client: server (the service of this release to which the value serverUrl leads).
*/}}
{{- define "ws.test" -}}
{{- $name := printf "%s-test" (include "ws.name" .root) -}}
{{- $service := .server | default (include "ws.name" .root) -}}
{{- $servicePort := (.root.Values.service).port -}}
{{- if .server }}{{ $servicePort = regexFind "[0-9]+$" (urlParse .root.Values.serverUrl).host | default "80" }}{{ end -}}
{{- $labels := dict "app.kubernetes.io/name" $name "app.kubernetes.io/instance" .root.Release.Name "app.kubernetes.io/part-of" "worker-system" -}}
{{- if include "ws.network.on" .root }}
{{- include "ws.network.testEdges" (dict "root" .root "name" $name "service" $service "port" .port) }}
---
{{- end }}
apiVersion: v1
kind: ConfigMap
metadata:
  {{- include "ws.metadata" (dict "root" .root "name" $name) | nindent 2 }}
  annotations: {helm.sh/hook: test, helm.sh/hook-weight: "-1"}
data:
  test: {{ printf "%s\n\n%s" (include "ws.test.words" .) (.root.Files.Get "files/test") | toYaml | nindent 4 }}
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
      command: [bash, /test/test, {{ $service }}, {{ $servicePort | quote }}]
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

{{/* Created before the first test, since a policy may take a moment to take effect. */}}
{{- define "ws.network.testEdges" -}}
{{- $service := dict "app.kubernetes.io/name" .service "app.kubernetes.io/instance" .root.Release.Name -}}
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
            matchLabels: {{- toYaml $service | nindent 14 }}
---
{{ include "ws.network.head" (dict "root" .root "name" (printf "%s-from-%s" .service .name)) }}
spec:
  podSelector:
    matchLabels: {{- toYaml $service | nindent 6 }}
  policyTypes: [Ingress]
  ingress:
    - ports: [{port: {{ .port }}, protocol: TCP}]
      from:
        - podSelector:
            matchLabels: {{- toYaml $selector | nindent 14 }}
{{- end }}

{{- define "ws.test.words" -}}
#!/bin/bash
# Arguments: the host and the port of the service.
set -euo pipefail
host=$1 port=$2
deadline=$((SECONDS + 60))

# request METHOD PATH [BODY]: prints the body of the response; fails unless it is a 2xx.
request() {
    local method=$1 path=$2 body=${3:-} status line
    exec 3<>"/dev/tcp/$host/$port" || return 1
    printf '%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s' \
        "$method" "$path" "$host" "${#body}" "$body" >&3
    read -r _ status _ <&3
    while read -r line <&3 && [ "$line" != $'\r' ]; do :; done
    cat <&3
    exec 3>&-
    [[ $status == 2* ]]
}

# number FIELD JSON: the value of an integer field.
number() { [[ $2 =~ \"$1\":(-?[0-9]+) ]] && echo "${BASH_REMATCH[1]}"; }

patiently() {
    until "$@" 2>/dev/null; do
        ((SECONDS < deadline)) || { echo "gave up: $*" >&2; return 1; }
        sleep 1
    done
}
{{- end }}
