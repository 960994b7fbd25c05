# shellcheck shell=bash
# judges.sh: programs with a verification of their own in two real guests, under checkpoints, killed and restarted.
# On top of tests/real/vckpt.sh and guests.sh; for tests/real/18-judges.t and tests/mpi/judges.
# shellcheck disable=SC2034,SC2154 # shared with lib.sh, guests.sh and whoever sources this

judges_dir=$top_src/tests/mpi/judges.d

judge_names()
{
	local f
	for f in "$judges_dir"/[a-z]*; do
		echo "${f##*/}"
	done
}

# judge_memory NAME: MB of a guest that it runs in.
judge_memory()
{
	local mb
	mb=$("$judges_dir/$1" memory)
	echo "${mb:-256}"
}

# judges_missing NAME...: the Debian packages that these want and this machine has not.
judges_missing()
{
	local name p
	for name in "$@"; do
		for p in $("$judges_dir/$name" packages); do
			grep -q '^install ok installed' <<<"$(dpkg-query -W -f '${Status}\n' "$p" 2>/dev/null)" || echo "$p"
		done
	done | sort -u | tr '\n' ' '
}

# judges_image NAME...: a guest image with these judges, and with all that tests/real wants, for the next lab.
judges_image()
{
	local name line args=() missing
	missing=$(judges_missing "$@")
	[ -z "$missing" ] || give_up "packages are missing: apt-get install $missing"
	mkdir -p "$TEST_DIR/made"
	for name in "$@"; do
		"$judges_dir/$name" files "$TEST_DIR/made" >"$TEST_DIR/made/files" 2>"$TEST_DIR/made.log" ||
			give_up "the judge $name cannot be made: $(cat "$TEST_DIR/made.log")"
		while read -r line; do
			args+=(--add "$line")
		done <"$TEST_DIR/made/files"
		args+=(--add "$judges_dir/$name:/usr/lib/judges/$name")
	done
	VCKPT_TEST_IMAGE=$TEST_DIR/image
	"$top_src/guest/build" --quiet --out "$VCKPT_TEST_IMAGE" --agent "$VCKPT_BUILD/vckpt-agent" \
		--component "$VCKPT_BUILD/.libs/mca_hook_vckpt.so" --add "$top_src/tests/mpi/judge" "${args[@]}" ||
		give_up "no guest image with the judges"
}

# Lines of output so far.
judge_lines()
{
	local n
	n=$(LAB_TIMEOUT=20 "$lab" run n1 'wc -l </tmp/jobs/mpi.out' 2>/dev/null)
	echo "${n:-0}"
}

# judge_beyond LINES: it printed more than so many, or came to its end.
judge_beyond()
{
	[ "$(judge_lines)" -gt "$1" ] || job_ended
}

# judge_note TEXT: into the log of this run.
judge_note()
{
	printf '%4d s  %s\n' $((SECONDS - judge_begin)) "$*" >>"$judge_log"
}

# judge_checkpoint GATE: one, and between which lines of the output it fell, for $fell and the log.
judge_checkpoint()
{
	local before after
	before=$(judge_lines)
	case_checkpoint "$1" || return
	after=$(judge_lines)
	judge_at=$before
	fell+=${fell:+, }$before
	[ "$before" = "$after" ] || fell+=-$after
	judge_note "epoch $(jq -r .epoch <<<"$record"): between lines $before and $after:" \
		"$("$lab" run n1 "sed -n '$((before > 0 ? before : 1))p' /tmp/jobs/mpi.out" 2>/dev/null)"
}

# judge_crash: both QEMUs get SIGKILL; the newest epoch is restarted.  What was printed before it stays as it was.
judge_crash()
{
	local at
	job_output | head -n "$judge_at" >"$TEST_DIR/judge.kept"
	at=$(judge_lines)
	kill_guest n1 n2
	vckpt restart cases >/dev/null 2>"$TEST_DIR/vckpt.log" || { why="restart: $(tail -n 2 "$TEST_DIR/vckpt.log")"; return 1; }
	back="$at, $(judge_lines)"
	judge_note "both guests killed at line $at, restarted; then at line ${back#*, }"
	restarted=yes
}

# judge_end NAME: what it says of itself, when it is over.  $verdict is its own sentence.
judge_end()
{
	job_output >"$judge_output"
	lines=$(wc -l <"$judge_output")
	verdict=$("$judges_dir/$1" verdict <"$judge_output") || { why="its verdict: $verdict"; return 1; }
	[ "$(job_status)" = "ended 0" ] || { why="$(job_status): $(tail -n 3 "$judge_output")"; return 1; }
	head -n "$(wc -l <"$TEST_DIR/judge.kept")" "$judge_output" | cmp -s - "$TEST_DIR/judge.kept" ||
		{ why="what it had printed before the checkpoint is not what it was"; return 1; }
	guests_free || { why="a guest is not free"; return 1; }
}

# judge_run NAME GATE CHECKPOINTS SECONDS: so many checkpoints, so many seconds between them; after half of them both
# QEMUs are killed and restarted.  The round after the last one is the last.  True if all came right; else $why says
# what did not.  $judge_output and $judge_log become what it printed, and at which lines what happened.
judge_run()
{
	local name=$1 gate=$2 n=$3 pause=$4 judge_begin=$SECONDS judge_at=0
	taken=0 loud=0 quiet_worst=0 fell='' back='' verdict='' why='' restarted=no lines=-
	: >"$judge_log"
	job_start_judge "$name" || { why="it does not start: $(job_output | tail -n 3)"; return 1; }
	while [ $taken -lt "$n" ]; do
		judge_checkpoint "$gate" || return
		sleep "$pause"
		[ $taken -ne $(((n + 1) / 2)) ] || judge_crash || return
		! job_ended || { why="it ended by itself: $(job_output | tail -n 3)"; return 1; }
	done
	"$lab" run n1 ': >/tmp/jobs/stop'
	judge_note "asked to end with this round, at line $(judge_lines)"
	wait_until 240 job_ended || { why="it does not end: $(job_output | tail -n 3)"; return 1; }
	judge_end "$name"
}

job_start_judge()
{
	"$lab" run n1 "job start mpi judge $1" && wait_until 90 judge_beyond 0 && ! job_ended
}
