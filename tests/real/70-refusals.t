#!/bin/bash
# What cannot be done safely is refused in one sentence that names the object and the cure, and changes nothing.
# shellcheck source=tests/real/vckpt.sh
. "$(dirname "$0")/vckpt.sh"

# refused NAME CODE PATTERN vckpt-arguments...
refused()
{
	local name=$1 code=$2 pattern=$3 said got
	shift 3
	said=$(vckpt "$@" 2>&1)
	got=$?
	if [ $got -ne "$code" ]; then
		fail "$name" "exit code $got, not $code: $said"
	elif ! grep -Eq "$pattern" <<<"$said"; then
		fail "$name" "no '$pattern' in: $said"
	elif [ "$(wc -l <<<"$said")" -ne 1 ]; then
		fail "$name" "more than one sentence: $said"
	else
		pass "$name"
	fi
}

heat_start 2
refused "a cluster that is not there" 3 nosuch checkpoint nosuch
refused "a domain that is not there" 3 nosuch adopt other nosuch
refused "an epoch that is not there" 3 '99' restart heat@99 --destroy
expect_ok "which destroyed nothing" guests_free
refused "no epoch at all" 3 heat restart heat
refused "a store that is not there" 3 nowhere ls --store "$LAB_DIR/nowhere"
refused "a name with a slash" 2 'a/b' adopt a/b n1
said=$(vckpt checkpoint heat --gate nosuch 2>&1)
expect_eq "a gate of no known name is wrong usage" $? 2
expect_match "and says so" "$said" "--gate does not know 'nosuch'"

"$lab" exec h1 virsh -q suspend n2
refused "a guest that an administrator paused" 7 'n2.*paused' checkpoint heat
expect_ok "is left paused" guest_is n2 paused
"$lab" exec h1 virsh -q resume n2

expect_ok "a checkpoint" vckpt checkpoint heat
refused "a restart beside running guests" 7 'n1' restart heat
kill_guest n2
refused "a guest that is off" 7 'n2' checkpoint heat
expect_ok "the other one runs" guest_is n1 running
"$lab" libvirtd h1 stop
refused "no libvirtd" 10 'cannot connect to libvirtd' checkpoint heat
"$lab" libvirtd h1 start
expect_ok "restart" vckpt restart heat --destroy
expect_ok "doctor finds nothing bad" vckpt doctor heat
heat_ends "the job ends right"
loose_is_told "mpirun --host n1:1,n2:1 --mca hook ^vckpt heat2d --grid 256 --steps 100000 --report 20"
finish
