# shellcheck shell=bash
# lib.sh: helpers of the tests that call the programs and need no guest.  VCKPT_BUILD is the build tree.
set -u
export LC_ALL=C.UTF-8
tools_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$tools_dir/../.." && pwd)
: "${VCKPT_BUILD:=$top/build}"
TEST_DIR=$(mktemp -d "${TMPDIR:-/tmp}/vckpt-tools.XXXXXX") || exit 1
trap 'rm -rf "$TEST_DIR"' EXIT
trap 'exit 130' INT TERM HUP
unset VCKPT_SOCKET VCKPT_LAUNCHER
export VCKPT_BUILD VCKPT_STORE=$TEST_DIR/store VCKPT_CONFIG=/dev/null
failed=0 passed=0
# shellcheck source=tests/refused.sh
. "$tools_dir/../refused.sh"

export VCKPT_DAEMON=$VCKPT_BUILD/vckptd

vckpt()
{
	"$VCKPT_BUILD/vckpt" "$@"
}

pass()
{
	echo "ok $1"
	passed=$((passed + 1))
}

fail()
{
	echo "not ok $1"
	[ $# -lt 2 ] || printf '%s\n' "$2" | sed 's/^/# /'
	failed=$((failed + 1))
}

# is NAME GOT WANTED
is()
{
	if [ "$2" = "$3" ]; then pass "$1"; else fail "$1" "got '$2', expected '$3'"; fi
}

# The store of tests/data becomes that of the test.  git keeps no empty folders and no modes.
recorded_store()
{
	cp -r "$top/tests/data/store" "$VCKPT_STORE"
	mkdir "$VCKPT_STORE/clusters/heat/data" "$VCKPT_STORE/clusters/heat/lease"
	chmod -R go= "$VCKPT_STORE"
}

# says NAME PATTERN COMMAND...: it succeeds, and its output matches.
says()
{
	local name=$1 pattern=$2 said status=0
	shift 2
	said=$("$@" 2>&1) || status=$?
	if [ $status -ne 0 ]; then
		fail "$name" "exit code $status: $said"
	elif ! grep -Eq -- "$pattern" <<<"$said"; then
		fail "$name" "no '$pattern' in: $said"
	else
		pass "$name"
	fi
}

finish()
{
	[ $failed -eq 0 ] && [ $passed -gt 0 ]
	exit
}
