#!/bin/bash
# Judges that others wrote, and a Fortran program: under checkpoints, killed and restarted, they find nothing wrong.
# All of them, by each gate: tests/mpi/judges.
# shellcheck source=tests/real/vckpt.sh
. "$(dirname "$0")/vckpt.sh"
# shellcheck source=tests/mpi/guests.sh
. "$(dirname "$0")/../mpi/guests.sh"
# shellcheck source=tests/mpi/judges.sh
. "$(dirname "$0")/../mpi/judges.sh"

judge_output=$TEST_DIR/judge.out judge_log=$TEST_DIR/judge.log
judges_image fortran scalapack
cases_up 256
for c in "fortran socket" "scalapack nic-plug"; do
	# shellcheck disable=SC2086 # words wanted
	set -- $c
	if judge_run "$1" "$2" 1 1; then
		pass "$1 under $2: a checkpoint at lines $fell, killed and restarted at lines $back of $lines: $verdict"
	else
		fail "$1 under $2" "$why"
		"$lab" run n1 'job kill mpi' >/dev/null 2>&1
		case_clear
	fi
	expect_eq "$1 under $2 was quiet" $loud 0
done

# A judge must be able to find something wrong.
judge_tells()
{
	! sed "$1" "$judge_output" | "$judges_dir/scalapack" verdict >/dev/null
}
expect_ok "a test that failed would be told" judge_tells 's/ 0 tests completed and failed/ 1 tests completed and failed/'
expect_ok "a tester that is missing would be told" judge_tells '0,/completed and passed/{/completed and passed/d}'
finish
