{{/* Redis: an external one by global.redis.host, or the bundled one. */}}

{{/* Its parameters as YAML: host, port, database, tls, secret, key. Argument: $ of the service. */}}
{{- define "ws.redis" -}}
{{- $redis := ((.Values.global).redis) | default dict -}}
{{- $bundled := dig "bundled" false $redis -}}
host: {{ include "ws.store.host" (dict "root" . "store" "redis" "name" "Redis" "missing" "Redis" "whose" "Redis's") }}
port: {{ $redis.port | default 6379 }}
bundled: {{ $bundled }}
database: {{ $redis.database | default 0 }}
tls: {{ $redis.tls | default false }}
secret: {{ dig "existingSecret" "name" "" $redis | default (ternary "redis" "" $bundled) | quote }}
key: {{ dig "existingSecret" "key" "password" $redis }}
{{- end }}

{{- define "ws.redis.env" -}}
{{- $redis := include "ws.redis" . | fromYaml -}}
{{- with $redis.secret }}
- name: REDIS_PASSWORD
  valueFrom:
    secretKeyRef: {name: {{ . }}, key: {{ $redis.key }}}
{{- end }}
- name: REDIS_URL
  value: {{ printf "redis%s://%s:%v/%v" (ternary "s" "" $redis.tls) $redis.host $redis.port $redis.database | quote }}
{{- end }}
