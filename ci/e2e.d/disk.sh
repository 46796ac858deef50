# Fills the disk of worker-system, and frees it again.

choose_programs
program=$TARGET/$CHECKS/worker-system
if [[ $EUID != 0 || ! -x $program ]]; then
    skip "full disk: needs root, and the program of ci/build"
else
    expect_that "ci/full-disk" ci/full-disk "$program"
fi
