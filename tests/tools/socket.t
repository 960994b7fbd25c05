#!/bin/bash
# A socket somebody names is where a vckptd is, or may be started; nothing is made for a name that is wrong.
# shellcheck source=tests/tools/lib.sh
. "$(dirname "$0")/lib.sh"

# doctor_says NAME PATTERN SOCKET: it finds the host bad, for this reason.
doctor_says()
{
	local said status
	said=$(vckpt doctor --socket "$3" 2>&1)
	status=$?
	if [ $status -eq 7 ] && grep -Eq -- "$2" <<<"$said"; then
		pass "$1"
	else
		fail "$1" "exit code $status: $said"
	fi
}

none=$TEST_DIR/none there=$TEST_DIR/there
export VCKPT_DAEMON=$TEST_DIR/nothing
doctor_says "doctor of a socket in no folder" "no folder $none: name another" "$none/s"
if [ ! -e "$none" ]; then pass "makes no folder"; else fail "makes no folder"; fi
VCKPT_SOCKET=$none/s vckpt doctor >/dev/null 2>&1
if [ ! -e "$none" ]; then pass "nor for one of the environment"; else fail "nor for one of the environment"; fi
mkdir "$there"
doctor_says "where the folder is, a vckptd is started" "cannot start $TEST_DIR/nothing" "$there/s"
finish
