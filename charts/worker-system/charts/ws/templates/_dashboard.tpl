{{/*
A Grafana dashboard, as JSON, from the table of panels in the chart's
files/dashboard.yaml:

  description   what the dashboard answers
  metric        a metric of the service; its namespaces can be selected
  rows          from top to bottom; the panels of a row have the same width:
    kind        stat (latest value, 4 high) or timeseries (graph, 8 high)
    panels      from left to right:
      title, description, unit (Grafana's id of it), thresholds (optional)
      queries   of Prometheus, each with its legend
*/}}

{{/* Argument: $ of the service's chart. */}}
{{- define "ws.dashboard" -}}
{{- $table := .Files.Get "files/dashboard.yaml" | fromYaml -}}
{{- if not $table.rows }}{{ fail (printf "%s: files/dashboard.yaml has no rows. %s" (include "ws.name" .) ($table.Error | default "")) }}{{ end -}}
{{- $source := dict "type" "prometheus" "uid" "$datasource" -}}
{{- $panels := list -}}
{{- $top := 0 -}}
{{- range $row := $table.rows -}}
{{- $height := get (dict "stat" 4 "timeseries" 8) $row.kind | required (printf "files/dashboard.yaml: %v is neither stat nor timeseries" $row.kind) -}}
{{- $width := div 24 (len $row.panels) -}}
{{- range $column, $panel := $row.panels -}}
{{- $position := dict "x" (mul $column $width) "y" $top "w" $width "h" $height -}}
{{- $panels = append $panels (include "ws.dashboard.panel" (dict "panel" $panel "kind" $row.kind "id" (len $panels | add1) "position" $position "source" $source) | fromJson) -}}
{{- end -}}
{{- $top = add $top $height -}}
{{- end -}}
{{- $name := include "ws.name" . -}}
{{- $current := dict "text" "All" "value" "$__all" -}}
{{- $namespace := dict "name" "namespace" "label" "Namespace" "type" "query" "datasource" $source "query" (printf "label_values(%s, namespace)" $table.metric) "refresh" 2 "includeAll" true "multi" true "current" $current -}}
{{- $variables := list (dict "name" "datasource" "label" "Data source" "type" "datasource" "query" "prometheus") $namespace -}}
{{- dict "uid" (printf "ws-%s" $name) "title" $name "description" $table.description "tags" (list "worker-system") "schemaVersion" 39 "editable" true "refresh" "10s" "time" (dict "from" "now-1h" "to" "now") "timezone" "browser" "templating" (dict "list" $variables) "panels" $panels | toJson -}}
{{- end }}

{{/* Arguments: panel (of the table), kind, id, position, source. */}}
{{- define "ws.dashboard.panel" -}}
{{- $source := .source -}}
{{- $targets := list -}}
{{- range $index, $query := .panel.queries -}}
{{- $letter := substr $index (int (add1 $index)) "ABCDEFGHIJKLMNOPQRSTUVWXYZ" -}}
{{- $targets = append $targets (dict "datasource" $source "expr" $query.query "legendFormat" $query.legend "refId" $letter) -}}
{{- end -}}
{{- $defaults := dict "unit" .panel.unit -}}
{{- with .panel.thresholds -}}
{{- $steps := list -}}
{{- range . }}{{ $steps = append $steps (dict "color" .color "value" .value) }}{{ end -}}
{{- $defaults = set $defaults "thresholds" (dict "mode" "absolute" "steps" $steps) -}}
{{- end -}}
{{- $options := dict "legend" (dict "displayMode" "list" "placement" "bottom") "tooltip" (dict "mode" "multi") -}}
{{- if eq .kind "stat" }}{{ $options = dict "reduceOptions" (dict "calcs" (list "lastNotNull")) "colorMode" "value" }}{{ end -}}
{{- dict "id" .id "type" .kind "title" .panel.title "description" .panel.description "datasource" $source "gridPos" .position "fieldConfig" (dict "defaults" $defaults "overrides" list) "targets" $targets "options" $options | toJson -}}
{{- end }}
