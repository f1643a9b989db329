#!/usr/bin/env bash
# The tests of batch systems on a machine that has HTCondor: a search by jobs, one of them removed,
# the submitting process killed and resumed, a stage that fails. Run it as a user who may submit, in
# a checkout (`make setup` done) on a file system that the execution points see, too.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

for command in condor_submit condor_q condor_rm condor_status; do
    command -v "$command" >/dev/null || {
        echo "htcondor: no $command here: run this on an access point of an HTCondor pool" >&2
        exit 2
    }
done
[ -n "$(condor_status -af Name)" ] || {
    echo "htcondor: condor_status shows no machine: is the pool up?" >&2
    exit 2
}
# a folder that execution points see; the system's temporary one is each machine's own
shared="${1:-$PWD/store}"
mkdir -p "$shared"
exec .venv/bin/python -P -m pytest tests/test_slurm.py -k htcondor \
    --basetemp "$(mktemp -d "$shared/htcondor-XXXXXX")" -v
