# Sourced by ci/e2e.d/counting.sh: what the count is, by the API and by the file itself.

# last_number: prints the number of stored numbers.
last_number() { curl -fsS -m 2 "$COUNTING/health" | sed -E 's/.*"last_number": ?([0-9]+).*/\1/'; }
# has_counted_to NUMBER
has_counted_to() {
    local last
    last=$(last_number 2>/dev/null) && ((last >= $1))
}
# counts SECONDS: waits until 20 more numbers are stored.
counts() {
    local last
    until_true "$1" has_counted_to 0 && last=$(last_number) && until_true "$1" has_counted_to $((last + 20))
}

# watch_count FILE: starts to write some lines a second: the time in ms and the last number.
watch_count() {
    : >"$1"
    while :; do
        echo "$(milliseconds) $(last_number 2>/dev/null || true)"
        sleep 0.1
    done >>"$1" &
    watcher=$!
    background+=("$watcher")
}
# longest_pause FILE [SINCE_MS]: prints the longest time in ms in which no new number was stored.
longest_pause() {
    awk -v since="${2:-0}" '$1 < since || NF < 2 { next }
        $2 > last { if (at && $1 - at > longest) longest = $1 - at; last = $2; at = $1 }
        END { if (at && $1 - at > longest) longest = $1 - at; print longest + 0 }' "$1"
}
# backward FILE: prints how often the last number became lower.
backward() { awk 'NF == 2 { if ($2 < last) n++; last = $2 } END { print n + 0 }' "$1"; }
highest() { awk '$2 > m { m = $2 } END { print m + 0 }' "$1"; }

# start_reader: starts a pod that can read the volume, since the server's image has no shell.
start_reader() {
    k apply -f - >/dev/null <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: e2e-numbers}
spec:
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 0
  securityContext: {runAsNonRoot: true, runAsUser: 65532, runAsGroup: 65532, fsGroup: 65532, seccompProfile: {type: RuntimeDefault}}
  containers:
    - name: reader
      image: mysql:9.7
      command: [sleep, infinity]
      securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
      volumeMounts: [{name: data, mountPath: /data, readOnly: true}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: data-counting-server-0}}]
YAML
    k wait pod e2e-numbers --for=condition=Ready --timeout=60s >/dev/null
}

# numbers_of_file: prints numbers.txt up to its last complete line.
numbers_of_file() { k exec e2e-numbers -- cat /data/numbers.txt | sed -n '$!p'; }

# numbers_of_api: prints the words of all numbers, page by page. Fails if a page has another
# number than the next one.
numbers_of_api() {
    local next=1 page numbers expected=1
    while [[ $next != null ]]; do
        page=$(curl -fsS -m 10 "$COUNTING/numbers?from=$next&limit=1000")
        numbers=$(grep -oE '"number": ?[0-9]+, ?"words": ?"[^"]*"' <<<"$page" | sed -E 's/^"number": ?([0-9]+), ?"words": ?"(.*)"$/\1 \2/') || true
        awk -v n="$expected" '$1 != n++ { print "expected " n - 1 ": " $0 > "/dev/stderr"; exit 1 } { sub(/^[0-9]+ /, ""); print }' <<<"$numbers"
        expected=$((expected + $(wc -l <<<"$numbers")))
        next=$(sed -E 's/.*"next": ?([0-9]+|null).*/\1/' <<<"$page")
    done
}

# expect_every_number WHAT: line n is n, for each n, in the file and in the API's answers.
expect_every_number() {
    local what=$1 source lines wrong missing repeated stored
    stored=$(last_number)
    for source in file api; do
        "numbers_of_$source" >"$REPORT/numbers.$source"
        read -r lines wrong missing repeated < <(awk -f ci/lib/numbers.awk "$REPORT/numbers.$source")
        expect "$what, $source: numbers" "$lines" '>=' $((stored - 1))
        expect "$what, $source: lines that are not their number in words" "$wrong" == 0
        expect "$what, $source: gaps" "$missing" == 0
        expect "$what, $source: duplicates" "$repeated" == 0
    done
}
