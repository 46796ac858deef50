{{/* Where Redis is: yours, or the bundled one. */}}

{{/* Its facts as YAML: host, port, database, tls, secret, key. Argument: $ of the service. */}}
{{- define "ws.redis" -}}
{{- $redis := ((.Values.global).redis) | default dict -}}
{{- $bundled := dig "bundled" false $redis -}}
{{- if and $redis.host $bundled -}}
{{- fail "global.redis.host is set: then set global.redis.bundled=false too, or nothing would use the bundled Redis." -}}
{{- end -}}
{{- if not (or $redis.host $bundled) -}}
{{- fail (printf "%s: there is no Redis. Set global.redis.host to your Redis's address, or global.redis.bundled=true in the worker-system chart." (include "ws.name" .)) -}}
{{- end -}}
host: {{ $redis.host | default "redis" }}
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
