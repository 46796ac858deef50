{{/*
The database of a system: an external server by global.mysql.host, or the bundled one.
*/}}

{{/* Its parameters as YAML: host, port, tls, database, user, secret, key. Arguments: root, system. */}}
{{- define "ws.database" -}}
{{- $mysql := ((.root.Values.global).mysql) | default dict -}}
{{- $system := dig "databases" .system dict $mysql -}}
{{- $bundled := dig "bundled" false $mysql -}}
{{- $tls := dig "tls" "mode" "preferred" $mysql -}}
{{- if and (hasPrefix "verify_" $tls) (not (dig "tls" "caSecret" "name" "" $mysql)) -}}
{{- fail (printf "global.mysql.tls.mode is %s: then global.mysql.tls.caSecret.name must name the Secret with the certificate of the server's authority." $tls) -}}
{{- end -}}
host: {{ include "ws.store.host" (dict "root" .root "store" "mysql" "name" "MySQL" "missing" "database" "whose" "MySQL's or MariaDB's") }}
port: {{ $mysql.port | default 3306 }}
bundled: {{ $bundled }}
tls: {{ $tls }}
caSecret: {{ dig "tls" "caSecret" (dict "name" "") $mysql | toJson }}
database: {{ $system.database | default (replace "-" "_" .system) }}
user: {{ $system.user | default (replace "-" "_" .system) }}
secret: {{ dig "existingSecret" "name" "" $system | default (printf "mysql-%s" .system) }}
key: {{ dig "existingSecret" "key" "password" $system }}
{{- end }}

{{/* User and password have variables of their own: in a URL, a password would have to be encoded. */}}
{{- define "ws.database.env" -}}
{{- $database := include "ws.database" . | fromYaml -}}
- name: DATABASE_USER
  value: {{ $database.user | quote }}
- name: DATABASE_PASSWORD
  valueFrom:
    secretKeyRef: {name: {{ $database.secret }}, key: {{ $database.key }}}
- name: DATABASE_URL
  value: {{ printf "mysql://%s:%v/%s?ssl-mode=%s%s" $database.host $database.port $database.database $database.tls (ternary "&ssl-ca=/etc/database/ca.crt" "" (ne $database.caSecret.name "")) | quote }}
{{- end }}

{{/* The certificate of the server's authority, if one is given. */}}
{{- define "ws.database.volume" -}}
{{- with include "ws.database.ca" . | fromYaml }}
- name: database-ca
  secret:
    secretName: {{ .name }}
    items: [{key: {{ .key }}, path: ca.crt}]
{{- end }}
{{- end }}

{{- define "ws.database.mount" -}}
{{- with include "ws.database.ca" . | fromYaml }}
- {name: database-ca, mountPath: /etc/database, readOnly: true}
{{- end }}
{{- end }}

{{- define "ws.database.ca" -}}
{{- $ca := dig "mysql" "tls" "caSecret" dict (.Values.global | default dict) -}}
{{- if $ca.name }}{{ toYaml $ca }}{{ end }}
{{- end }}
