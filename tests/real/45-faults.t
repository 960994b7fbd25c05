#!/bin/bash
# A few cases of the campaign over all fault points (tests/campaign, docs/faults.md), with vckpt and vckptd built with
# sanitizers if the tests have made such a build.
top=$(cd "$(dirname "$0")/../.." && pwd)
: "${VCKPT_BUILD:=$top/build}"
export VCKPT_BUILD
[ ! -x "$VCKPT_BUILD/sanitized/vckptd" ] || export VCKPT_FAULT_BUILD=$VCKPT_BUILD/sanitized
exec "$top/tests/campaign" --quick
