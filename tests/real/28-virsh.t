#!/bin/bash
# An export is good without vckpt: guests with disks, in the middle of an MPI job, are killed and come back by
# `virsh restore` alone; the gates open by themselves when their hold expires, and the job ends right. And by
# `vckpt import` the export is a checkpoint again, from which it ends right, too.
# Most of its time it waits for the hold to expire (65 s of the guests' clocks).
# shellcheck source=tests/real/vckpt.sh
. "$(dirname "$0")/vckpt.sh"
# shellcheck source=tests/disks/disks.sh
. "$here/../disks/disks.sh"
folder=$TEST_DIR/export

# plain_start: by libvirt alone, both before one of them runs.
plain_start()
{
	local g
	for g in n1 n2; do
		"$lab" exec h1 virsh restore "$folder/$g.save" --paused || return 1
	done
	for g in n1 n2; do
		"$lab" exec h1 virsh resume "$g" || return 1
	done
}

heat_pause=20
disks_start n1 n2
"$lab" run n1 'killall -STOP ledger' # its processor is the job's
job_start "--host n1:2,n2:2 heat2d $(heat_args)"
job_wait_step "$(heat_steps 80)" || give_up "the job does not start: $(job_output)"
mark exported
a=$(count)
expect_ok "a checkpoint" vckpt checkpoint heat --drain require
expect_ok "its export" vckpt export heat "$folder"
expect_eq "has these files" "$(cd "$folder" && stat -c '%a %n' * | paste -sd,)" \
	"600 manifest.json,600 n1-vda.base,600 n1-vda.qcow2,600 n1-vdb.base,600 n1-vdb.qcow2,600 n1.save,600 n2.save"
mark later
"$lab" run n1 'killall -CONT ledger'
writes_on || fail "the writer goes on"
heat_moves "the job goes on"

kill_guest n1 n2
"$lab" exec h1 pkill -KILL -x vckptd
mv "$VCKPT_STORE" "$VCKPT_STORE.away"
expect_ok "both start by virsh alone" plain_start
step=$(job_progress)
began=$SECONDS
expect_ok "the job goes on when the hold has expired" job_wait_step $((step + $(heat_steps 80))) 150
echo "# after $((SECONDS - began)) s"
expect_eq "the guests are of the checkpoint" "$(marked)" exported
said=$(agree)
expect_match "memory and disks agree" "$said" '^agree'
expect_ok "and are of it" test "${said#agree }" -ge "$a"
expect_match "the disks in use are those of the export" "$("$lab" exec h1 virsh -q domblklist n1)" "$folder/n1-vda.qcow2"
heat_ends "the job that virsh restored ends right"
kill_guest n1 n2

mv "$VCKPT_STORE.away" "$VCKPT_STORE"
expect_ok "the export is imported" vckpt import "$folder"
expect_ok "a restart from what was imported" vckpt restart heat@2
expect_eq "which is of the same instant" "$(marked)" exported
expect_match "with its disks" "$(agree)" '^agree'
heat_ends "and the job ends right"
finish
