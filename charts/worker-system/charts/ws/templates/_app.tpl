{{/*
All objects of a service.

Arguments, all but the first optional:
  root         $ of the service's chart
  http         the port for clients
  database     the system whose database it uses, a key of global.mysql.databases
  redis        true: it uses Redis
  rabbitmq     the system whose RabbitMQ user it is, a key of global.rabbitmq.users
  envFrom      a Secret whose keys become environment variables
  env          more environment variables, as YAML
  kubernetes   true: it uses the Kubernetes API
  calls        services of this release that it connects to, each with the port on which it listens
  stable       true: a pod that is replaced keeps its name; the service is a StatefulSet
  replicas     "others": not the chart but another component owns spec.replicas
*/}}
{{- define "ws.app" -}}
{{- $root := .root }}
{{- include "ws.serviceAccount" . }}
---
{{ include "ws.workload" . }}
{{- include "ws.service" . }}
{{- include "ws.scaling" . }}
{{- include "ws.routes" . }}
{{- include "ws.network" . }}
{{- include "ws.monitoring" . }}
{{- end }}
