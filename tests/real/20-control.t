#!/bin/bash
# The control: two captures without coordination, a second and a half apart, must give a job that hangs or
# fails.  If it went on, the other tests could not see a missing hold.
# shellcheck source=tests/real/vckpt.sh
. "$(dirname "$0")/vckpt.sh"

heat_start 2
expect_ok "n1 alone is a cluster" vckpt adopt one n1
expect_ok "n2 alone is another" vckpt adopt two n2
expect_ok "a capture of n1" vckpt checkpoint one --gate none --drain none
at=$(job_progress)
job_wait_step $((at + 120)) || give_up "the job does not go on"
expect_ok "a capture of n2, later" vckpt checkpoint two --gate none --drain none
kill_guest n1 n2
expect_ok "n1 comes back" vckpt restart one
expect_ok "n2 comes back" vckpt restart two
expect_ok "both guests run and answer" guests_free
at=$(job_progress)
if job_wait_step $((at + 80)) 30; then
	fail "the uncoordinated job hangs or fails" "it went on from step $at to $(job_progress)"
else
	pass "the uncoordinated job hangs or fails"
fi
finish
