{{/* RabbitMQ: an external one by global.rabbitmq.host, or the bundled one. */}}

{{/* The parameters of a system as YAML: host, port, vhost, tls, user, secret, key. Arguments: root, system. */}}
{{- define "ws.rabbitmq" -}}
{{- $rabbitmq := ((.root.Values.global).rabbitmq) | default dict -}}
{{- $system := dig "users" .system dict $rabbitmq -}}
{{- $bundled := dig "bundled" false $rabbitmq -}}
host: {{ include "ws.store.host" (dict "root" .root "store" "rabbitmq" "name" "RabbitMQ" "missing" "RabbitMQ" "whose" "RabbitMQ's") }}
port: {{ $rabbitmq.port | default 5672 }}
bundled: {{ $bundled }}
vhost: {{ $rabbitmq.vhost | default "/" | quote }}
tls: {{ $rabbitmq.tls | default false }}
user: {{ $system.user | default .system }}
secret: {{ dig "existingSecret" "name" "" $system | default (printf "rabbitmq-%s" .system) }}
key: {{ dig "existingSecret" "key" "password" $system }}
{{- end }}

{{/* User and password have variables of their own: in a URL, a password would have to be encoded. */}}
{{- define "ws.rabbitmq.env" -}}
{{- $rabbitmq := include "ws.rabbitmq" . | fromYaml -}}
- name: AMQP_USER
  value: {{ $rabbitmq.user | quote }}
- name: AMQP_PASSWORD
  valueFrom:
    secretKeyRef: {name: {{ $rabbitmq.secret }}, key: {{ $rabbitmq.key }}}
- name: AMQP_URL
  value: {{ printf "amqp%s://%s:%v/%s" (ternary "s" "" $rabbitmq.tls) $rabbitmq.host $rabbitmq.port (urlquery $rabbitmq.vhost) | quote }}
{{- end }}
