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
  server       the one of them to which the value serverUrl leads, unless it is an address of its own
  stable       true: a pod that is replaced keeps its name; the service is a StatefulSet
  volume       the path of a volume that outlives the pod, for DATA_DIR; the service is a StatefulSet
  roles        roles, each with the name of its Deployment of one pod; the pods know theirs by ROLE
  replicas     "others": not the chart but another component owns spec.replicas
*/}}
{{- define "ws.app" -}}
{{- $root := .root }}
{{- include "ws.serviceAccount" . }}
{{- include "ws.workloads" . }}
{{- include "ws.service" . }}
{{- include "ws.scaling" . }}
{{- include "ws.routes" . }}
{{- include "ws.network" . }}
{{- include "ws.monitoring" . }}
{{- end }}
