# shellcheck shell=bash
# supervise.sh: jobs that are looked after, for those who have sourced vckpt.sh (or what is on top of it) before.
supervisors=()
supervise_by=("$VCKPT_BUILD/run" "$VCKPT_BUILD/vckpt")

# supervise NAME OPTION...: one more, whose events are in $TEST_DIR/NAME.log.
supervise()
{
	local name=$1
	shift
	"${supervise_by[@]}" supervise heat --json "$@" >"$TEST_DIR/$name.log" 2>"$TEST_DIR/$name.err.log" &
	supervisors+=($!)
}

# All of them, with SIGKILL.
stop_supervisors()
{
	local p
	for p in "${supervisors[@]}"; do
		kill -KILL "$p" 2>/dev/null
		wait "$p" 2>/dev/null
	done
	supervisors=()
}

# said NAME CONDITION: has this supervisor told of such an event?  Its last line may be half written.
said()
{
	[ -n "$(jq -R "fromjson? | select($2) | 1" "$TEST_DIR/$1.log")" ]
}

done_() # NAME ACTION
{
	said "$1" ".event == \"done\" and .action == \"$2\" and .good"
}

# $TEST_DIR/fence: switches a host off, by fence-agents' convention; what it was asked for is in $TEST_DIR/fenced.
fence_ready()
{
	cat >"$TEST_DIR/fence" <<-X
		#!/bin/sh
		export LAB_DIR="$LAB_DIR"
		while read -r line; do
			case \$line in plug=*) plug=\${line#plug=} ;; action=*) action=\${line#action=} ;; esac
		done
		echo "\$action \$plug" >>"$TEST_DIR/fenced"
		case \$action in
		off) [ ! -e "$LAB_DIR/hosts/\$plug/pid" ] || "$lab" crash "\$plug" ;;
		status) [ -e "$LAB_DIR/hosts/\$plug/pid" ] || exit 2 ;;
		*) exit 1 ;;
		esac
	X
	chmod 700 "$TEST_DIR/fence"
}
