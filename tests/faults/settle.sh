# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # see below
# settle.sh: what must be so after each run of tests/campaign, which has the functions and variables that are not here.

# where_it_is: the last step that the job told, from a guest that is reached, as the other one is from there: no gate
# is shut, both run.  Orders that are in force are taken away.
where_it_is()
{
	LAB_TIMEOUT=15 "$lab" run n1 'rm -f /run/vckpt/faults*; gsh n2 "rm -f /run/vckpt/faults*" &&
		sed -n "s/^step \([0-9]*\) .*/\1/p" /tmp/jobs/mpi.out | tail -n 1' 2>/dev/null
}

got_further()
{
	local now
	now=$(where_it_is) && [ "${now:-0}" -gt "$1" ]
}

found()
{
	at=$(where_it_is)
}

# The guests are free, and the job gets further.
job_goes_on()
{
	local at
	wait_until 40 found_or_off && ! any_off && wait_until 20 got_further "${at:-0}"
}

found_or_off()
{
	found || any_off
}

any_off()
{
	grep -q "shut off" <<<"$("$lab" exec h1 virsh -q list --all)"
}

# epochs_whole STORE CLUSTER: every byte is read as a restart would.
epochs_whole()
{
	LD_LIBRARY_PATH=$VCKPT_BUILD/.libs "$VCKPT_BUILD/tests/faults/epochs" "$1" "$2"
}

# runs_on HOST: the guest that moves runs there.
runs_on()
{
	[ "$("$lab" exec "$1" virsh domstate n1 2>/dev/null | head -n 1)" = running ]
}

# It stands still while it changes over; then it runs on one host, or on none if it was killed.  libvirtd goes on with
# it when vckptd is gone.
on_one_host()
{
	local job
	job=$("$lab" exec h1 virsh domjobinfo n1 2>/dev/null | awk '/^Job type:/ {print $3}')
	[ "${job:-None}" = None ] || return
	# "Migrated" is off as well.
	if runs_on h1; then ! runs_on h2; else runs_on h2 || grep -q "shut off" <<<"$("$lab" exec h1 virsh domstate --reason n1 | grep -v migrated)"; fi
}

# come_home: the guest that moves is brought back.  Prints what is wrong.
come_home()
{
	rm -f "$host_faults"
	outside status roam >/dev/null 2>&1 # starts each vckptd that is not there
	wait_until 40 on_one_host ||
		{ echo "stuck: n1 is not on one host: h1 $("$lab" exec h1 virsh domstate n1 2>&1 | head -n 1), h2 $("$lab" exec h2 virsh domstate n1 2>&1 | head -n 1)"; return 1; }
	runs_on h2 || return 0
	outside migrate roam n1 h1 >"$TEST_DIR/home.out" 2>&1 && runs_on h1 ||
		{ echo "no-way-back: $(tail -n 1 "$TEST_DIR/home.out")"; return 1; }
}

# found_again: the guest that was restarted by itself can be restarted once more, has left one behind, and is part of
# the job again.  Prints what is wrong.
found_again()
{
	local at=$TEST_DIR/lost/clusters/lost
	rm -f "$host_faults"
	restart_lost >"$TEST_DIR/lost.out" 2>&1 || { echo "no-restart: $(tail -n 1 "$TEST_DIR/lost.out")"; return 1; }
	[ "$(jq -r '.body.left[] | "\(.guest)@\(.host)"' "$at/left.json")" = n1@gone ] || { echo "not-left"; return 1; }
	vckpt restart heat --destroy >"$TEST_DIR/restart.out" 2>&1 ||
		{ echo "no-restart: $(tail -n 1 "$TEST_DIR/restart.out")"; return 1; }
}

# A suspension: all guests are gone and the epoch is there, or all run.
gone_or_running()
{
	local off
	off=$("$lab" exec h1 virsh -q list --all | grep -c "shut off")
	[ "$off" = 0 ] || { [ "$off" = 2 ] && [ -n "$(newer)" ]; }
}

# newer: the epoch that was not known.
newer()
{
	local e
	for e in $(entries); do
		[[ " $known " == *" $e "* ]] || echo "$e"
	done | tail -n 1
}

# settle SCENARIO [VICTIM]: all must be well again.  Prints "ok", or what is not.
settle()
{
	local status=0 e now command=(restart heat --destroy)
	disarm # each vckptd counts from 1
	[ -z "${libvirtd_killed-}" ] || "$lab" libvirtd h1 start
	[ "$1" != migrate ] || come_home || return
	[ "$1" != lost ] || found_again || return
	# Whatever is asked next starts a vckptd, and that one sets right what the last left.
	vckpt status heat >/dev/null 2>&1
	job_goes_on || status=1
	if [[ $1 == *suspend && ${2-} != QEMU ]]; then
		wait_until 40 gone_or_running || { stuck; return; }
	fi
	if any_off; then
		status=0
		[ "$1/${2-}" != suspend/ ] || command=(resume heat)
		vckpt "${command[@]}" >"$TEST_DIR/restart.out" 2>&1 || status=$?
		[ $status -eq 0 ] || { echo "no-restart: $(tail -n 1 "$TEST_DIR/restart.out")"; return; }
		job_goes_on || status=1
	fi
	[ $status -eq 0 ] || { stuck; return; }
	# Until the next restart its newest epoch lacks a layer here.
	if [ "$1" = bring ]; then
		done_again restart heat --destroy || return
		job_goes_on || { stuck; return; }
	fi
	now=$(epochs_whole "$VCKPT_STORE" heat) || { echo "lost: $(grep LOST <<<"$now" | head -n 1)"; return; }
	for e in $(tr ' ' '\n' <<<"$known" | grep . | sort -n | { [ "$1" = prune ] && tail -n 1 || cat; }); do
		grep -qx "$e whole" <<<"$now" || { echo "lost: epoch $e is gone"; return; }
	done
	if [ "$1" = carry ] && compgen -G "$TEST_DIR/carried/clusters/heat/epochs/*.json" >/dev/null; then
		now=$(epochs_whole "$TEST_DIR/carried" heat 2>&1) ||
			{ echo "lost: what was carried: $(tail -n 1 <<<"$now")"; return; }
	fi
	settle_stores "$1" || return
	wait_until 30 nothing_noted || # a step that was delayed may go on still
		{ echo "journal: $(ls "$LAB_DIR/hosts/h1/run/vckpt/journal")"; return; }
	for e in "$TEST_DIR"/asan.*; do
		cat "$e" >&2
		rm "$e"
		echo "sanitizer: ${e##*/}"
		return
	done
	echo ok
}

# settle_stores SCENARIO: what it did to other stores than the lab's can be done again, and nothing is lost.  Prints
# what is wrong.
settle_stores()
{
	case $1 in
	mend)
		vckpt repair heat --apply --store "$TEST_DIR/copy" >/dev/null 2>&1
		has_known "$TEST_DIR/copy" 1 "what was mended"
		;;
	fetch)
		done_again repair heat --apply --store "$TEST_DIR/first" && has_known "$TEST_DIR/first" 0 "what was fetched" ||
			return
		cmp -s "$TEST_DIR/first/clusters/heat/cluster.json" "$TEST_DIR/second/clusters/heat/cluster.json" ||
			{ echo "lost: the definition"; return 1; }
		;;
	lead)
		done_again lead heat --store "$TEST_DIR/second" && has_newest "$TEST_DIR/second" || return
		! vckpt flush heat --store "$TEST_DIR/first" >/dev/null 2>&1 || { echo "two-lead"; return 1; }
		done_again flush heat --store "$TEST_DIR/second" && has_known "$TEST_DIR/first" 0 "what led"
		;;
	flush | copy | bring)
		if [ "$1" = flush ]; then
			wait_until 70 followed || { echo "behind: $(vckpt ls heat 2>&1 | tail -n 1)"; return 1; }
		fi
		done_again flush heat "$TEST_DIR/place" --by-hand && has_newest "$TEST_DIR/place" || return
		vckpt flush heat "$TEST_DIR/place" --forget >/dev/null 2>&1
		rm -rf "$TEST_DIR/place"
		;;
	seal)
		now=$(CREDENTIALS_DIRECTORY=$TEST_DIR/keys epochs_whole "$TEST_DIR/sealed" sealed 2>&1) ||
			{ echo "lost: sealed: $(tail -n 1 <<<"$now")"; return 1; }
		;;
	esac
}

# done_again ARGUMENTS: of vckpt.
done_again()
{
	vckpt "$@" >"$TEST_DIR/again.out" 2>&1 || { echo "no-$1: $(tail -n 1 "$TEST_DIR/again.out")"; return 1; }
}

# has_known STORE N WHAT: all that is there is whole, and so are all known epochs there but the newest N.
has_known()
{
	local now e
	now=$(epochs_whole "$1" heat 2>&1) || { echo "lost: $3: $(tail -n 1 <<<"$now")"; return 1; }
	for e in $(tr ' ' '\n' <<<"$known" | grep . | sort -n | head -n "-$2"); do
		grep -qx "$e whole" <<<"$now" || { echo "lost: epoch $e of $3"; return 1; }
	done
}

# has_newest PLACE: all that is there is whole, and the newest of the store is.
has_newest()
{
	local now
	now=$(epochs_whole "$1" heat 2>&1) || { echo "lost: at ${1##*/}: $(tail -n 1 <<<"$now")"; return 1; }
	grep -qx "$(entries | tail -n 1) whole" <<<"$now" || { echo "lost: the newest is not at ${1##*/}"; return 1; }
}

nothing_noted()
{
	[ "$(ls "$LAB_DIR/hosts/h1/run/vckpt/journal" 2>/dev/null | wc -l)" = 0 ]
}

stuck()
{
	echo "stuck: n1 $("$lab" exec h1 virsh domstate --reason n1 2>&1 | head -n 1), n2 $("$lab" exec h1 virsh domstate --reason n2 2>&1 | head -n 1), job $(job_status) at $(job_progress)"
}

# entries: the epochs that are in the catalogue, by their files.
entries()
{
	local e
	for e in "$VCKPT_STORE"/clusters/heat/epochs/*.json; do
		e=${e##*/}
		echo $((10#${e%.json}))
	done
}

# The newest three are kept; what is taken out by hand the next sweep clears away.
thin_out()
{
	local e
	for e in $(entries | sort -n | head -n -3); do
		rm "$VCKPT_STORE/clusters/heat/epochs/$(printf %06d "$e").json"
	done
	known=$(entries | tr '\n' ' ')
}
