# Sourced by ci/e2e: where the images get their programs from.
source ci/lib/build.sh

# choose_programs: on the Debian of the images' base, the programs that ci/test ran;
# elsewhere the build of the images compiles them, in the same profile. PROFILE=release
# makes the images of a release.
choose_programs() {
    if [[ -n ${PROGRAMS:-} ]]; then return 0; fi
    rm -rf target/programs
    if [[ -z ${PROFILE:-} ]] && is_debian_of_images && type -P cargo strip >/dev/null; then
        PROGRAMS=prebuilt
        copy_programs
    else
        PROGRAMS=compiled
    fi
    PROFILE=${PROFILE:-$CHECKS}
    export PROGRAMS PROFILE
    note "programs: $PROGRAMS, profile $PROFILE"
}

is_debian_of_images() { [[ $(. /etc/os-release && echo "$ID $VERSION_ID") == 'debian 12' ]]; }

copy_programs() {
    ci/build
    # The folder is what the images have as their folder for data.
    mkdir -p target/programs/data
    local image
    for image in "${IMAGES[@]}" worker-system; do
        strip -o "target/programs/$image" "$TARGET/$CHECKS/$image"
    done
}
