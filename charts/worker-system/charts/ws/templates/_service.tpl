{{/* How a service is reached. Arguments as of "ws.app". */}}

{{/* Without people to serve there is a Service only for those who scrape metrics, and for the names of stable pods. */}}
{{- define "ws.service" -}}
{{- $root := .root -}}
{{- $monitored := include "ws.metricsOn" (list $root "serviceMonitor") -}}
{{- if or .http $monitored (include "ws.stable" .) }}
---
apiVersion: v1
kind: Service
metadata:
  {{- include "ws.metadata" . | nindent 2 }}
  {{- if .http }}
  {{- with $root.Values.service.annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
spec:
  {{- if .http }}
  type: {{ $root.Values.service.type }}
  {{- if eq $root.Values.service.type "LoadBalancer" }}
  {{- with $root.Values.service.loadBalancerSourceRanges }}
  loadBalancerSourceRanges: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
  {{- else }}
  clusterIP: None
  {{- end }}
  selector: {{- include "ws.selector" $root | nindent 4 }}
  {{- if or .http $monitored }}
  ports:
    {{- if .http }}
    - name: http
      port: {{ $root.Values.service.port }}
      targetPort: http
      {{- with $root.Values.service.nodePort }}
      nodePort: {{ . }}
      {{- end }}
    {{- end }}
    {{- if $monitored }}
    - name: admin
      port: 9090
      targetPort: admin
    {{- end }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "ws.routes" -}}
{{- if .http }}
{{- include "ws.ingress" . }}
{{- include "ws.httpRoute" . }}
{{- end }}
{{- end }}

{{- define "ws.ingress" -}}
{{- $ingress := .root.Values.ingress -}}
{{- if $ingress.enabled }}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  {{- include "ws.metadata" . | nindent 2 }}
  {{- with $ingress.annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- with $ingress.className }}
  ingressClassName: {{ . }}
  {{- end }}
  {{- with $ingress.tlsSecret }}
  tls:
    - secretName: {{ . }}
      hosts: [{{ $ingress.host }}]
  {{- end }}
  rules:
    - host: {{ $ingress.host }}
      http:
        paths:
          - path: /
            pathType: Prefix
            backend:
              service:
                name: {{ include "ws.name" .root }}
                port: {name: http}
{{- end }}
{{- end }}

{{- define "ws.httpRoute" -}}
{{- $route := .root.Values.httpRoute -}}
{{- if $route.enabled }}
{{- if not $route.parentRefs }}
{{- fail (printf "%s.httpRoute.parentRefs: name the Gateway." (include "ws.name" .root)) }}
{{- end }}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{- include "ws.metadata" . | nindent 2 }}
spec:
  parentRefs: {{- toYaml $route.parentRefs | nindent 4 }}
  hostnames: [{{ $route.host | default .root.Values.ingress.host }}]
  rules:
    - backendRefs:
        - name: {{ include "ws.name" .root }}
          port: {{ .root.Values.service.port }}
{{- end }}
{{- end }}
