# What the pods use at rest. The metrics server looks back for up to a minute, so this
# comes a minute after the installation; the sections between the two do not use it.

installed
until_true 60 eval '((SECONDS >= ${installed_at:=$SECONDS} + 60))'
if until_true 60 k top pods; then
    while read -r pod cpu memory; do note "at rest: $pod $cpu $memory"; done < <(k top pods --no-headers)
else
    skip "use at rest: no metrics server"
fi
