# Builds every image, and checks its size and user.

choose_programs
docker buildx bake -f docker/docker-bake.hcl 2>"$REPORT/bake.log" || { tail -30 "$REPORT/bake.log" >&2; exit 1; }
for image in "${IMAGES[@]}" worker-system; do
    megabytes=$(docker image inspect "worker-system/$image:0.1.0" --format '{{.Size}}' | awk '{ printf "%.1f", $1 / 1e6 }')
    # The limit applies to release images.
    if [[ $PROFILE == release ]]; then
        expect "size of $image in MB" "$megabytes" '<=' 40
    else
        note "size of $image in MB, with programs of the profile $PROFILE: $megabytes"
    fi
    expect "$image runs as" "$(docker image inspect "worker-system/$image:0.1.0" --format '{{.Config.User}}')" == 65532:65532
done
