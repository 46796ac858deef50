# Measures CPU and memory of the pods at rest. The metrics server averages over up to a
# minute, so this section runs a minute after the installation; the sections in between
# do not use the installation.

installed
until_true 60 eval '((SECONDS >= ${installed_at:=$SECONDS} + 60))'
if until_true 60 k top pods; then
    while read -r pod cpu memory; do note "at rest: $pod $cpu $memory"; done < <(k top pods --no-headers)
else
    skip "use at rest: no metrics server"
fi
