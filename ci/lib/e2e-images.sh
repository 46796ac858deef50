# Sourced by ci/e2e: selects the source of the programs in the images.
source ci/lib/build.sh

# choose_programs: on the Debian release of the base image, the images contain the programs
# that ci/test ran. Elsewhere the image build compiles them with the same profile.
# PROFILE=release builds release images.
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
    # The images use this folder as their data folder.
    mkdir -p target/programs/data
    local image
    for image in "${IMAGES[@]}" worker-system; do
        strip -o "target/programs/$image" "$TARGET/$CHECKS/$image"
    done
}
