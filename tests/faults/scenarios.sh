# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # see below
# scenarios.sh: what comes by a point in tests/campaign, which has the functions and variables that are not here.

# Each is a command, and what has to be ordered besides for it to come so far.
scenarios=(checkpoint slow restart stop-copy move void undo recover-prepared recover-paused recover-running
	recover-rebuilding recover-rebuilt takeover look kill watch expire seal migrate
	suspend unsuspend prune carry mend copy fetch bring lead flush lost)

besides()
{
	case $1 in
	# So long that the lease has to be renewed.
	slow) echo "vckptd store.capture.sync 1 delay=12000" ;;
	void) echo "vckptd host.begin.run 1 error" ;;
	undo) echo "vckpt coordinator.send.run 1 kill" ;;
	recover-prepared) echo "vckptd host.end.prepare 1 kill" ;;
	recover-paused) echo "vckptd host.end.cut 1 kill" ;;
	recover-running) echo "vckptd host.end.run 2 kill" ;;
	recover-rebuilding) echo "vckptd host.restore.finish 1 kill" ;;
	recover-rebuilt) echo "vckptd host.end.restore 1 kill" ;;
	takeover) echo "vckpt-agent agent.gate.shut 1 kill" ;;
	unsuspend) echo "vckpt store.ticket.rename 1 kill" ;;
	expire) echo "vckpt-agent agent.gate.shut 1 delay=30000" ;;
	esac
}

# before SCENARIO: what it begins with, and comes by nobody's point.
before()
{
	local pack
	case $1 in
	# One is kept.
	prune)
		[ "$(entries | wc -l)" -gt 1 ] || vckpt checkpoint heat -q
		known=$(epochs)
		;;
	# A store, and what is whole at a place of it is damaged.
	fetch)
		store_beside
		pack=$(newest_pack "$TEST_DIR/first")
		spoil "$pack"
		spoil "${pack%.pack}.device"
		spoil "$TEST_DIR/first/clusters/heat/epochs/$(basename "${pack%/*}").json"
		spoil "$TEST_DIR/first/clusters/heat/cluster.json"
		;;
	lead) store_beside ;;
	# What the newest epoch has of the disk lies at a place alone.
	bring)
		vckpt flush heat "$TEST_DIR/place" &&
			rm "$(newest_layer)"
		;;
	lost) lost_ready ;;
	esac >"$TEST_DIR/before.log" 2>&1
}

# store_beside: a copy of the store, and a place of that, which has the newest epoch.
store_beside()
{
	rm -rf "$TEST_DIR/first" "$TEST_DIR/second"
	cp -a "$VCKPT_STORE" "$TEST_DIR/first"
	rm -f "$TEST_DIR/first/clusters/heat/places.json"
	vckpt flush heat "$TEST_DIR/second" --store "$TEST_DIR/first"
}

scenario()
{
	local told=0
	case $1 in
	checkpoint | slow | void | undo | takeover) vckpt checkpoint heat ;;
	# The hold expires while the agent is stuck: 22 s, of which 13 cannot be set.
	expire)
		printf '[deadlines]\nquiet = 1\npause = 2\ncut = 2\nrun = 2\nrelease = 2\n' >"$TEST_DIR/short.conf"
		VCKPT_CONFIG=$TEST_DIR/short.conf vckpt checkpoint heat || told=$?
		wait_until 40 guests_free
		# It is stuck still, and no good for what comes next.
		kill_victim agent n2
		return $told
		;;
	stop-copy) vckpt checkpoint heat --engine stop-copy ;;
	recover-re*)
		vckpt restart heat --destroy
		vckpt status heat
		;;
	recover-*)
		vckpt checkpoint heat
		vckpt status heat
		;;
	restart) vckpt restart heat --destroy ;;
	move) vckpt restart heat --on h1 --destroy ;;
	kill) vckpt kill heat ;;
	suspend) vckpt suspend heat ;;
	unsuspend)
		vckpt suspend heat
		vckpt status heat
		;;
	watch) vckpt_for 5 watch heat --every 0 ;;
	look)
		vckpt doctor heat
		vckpt status heat
		vckpt hosts heat
		vckpt log heat
		vckpt adopt heat n1 n2
		rm -rf "$TEST_DIR/other"
		vckpt adopt other n1 n2 --store "$TEST_DIR/other"
		;;
	# Another cluster, of the guest without a disk, whose captures get a key, and then another one.
	seal)
		rm -rf "$TEST_DIR/sealed" "$TEST_DIR/keys"
		mkdir -m 700 "$TEST_DIR/keys"
		vckpt adopt sealed n1 --store "$TEST_DIR/sealed"
		vckpt key new "$TEST_DIR/keys/1"
		vckpt key new "$TEST_DIR/keys/2"
		vckpt key use sealed "$TEST_DIR/keys/1" --store "$TEST_DIR/sealed"
		vckpt checkpoint sealed --store "$TEST_DIR/sealed"
		vckpt key use sealed "$TEST_DIR/keys/2" --store "$TEST_DIR/sealed"
		;;
	prune) vckpt prune heat --keep-last 1 --max-unused 0 ;;
	copy) vckpt flush heat "$TEST_DIR/place" ;;
	fetch) vckpt repair heat --apply --store "$TEST_DIR/first" ;;
	lead) vckpt lead heat --store "$TEST_DIR/second" ;;
	bring) vckpt restart heat --destroy ;;
	lost) restart_lost ;;
	# Out of the store, and into another one.
	carry)
		rm -rf "$TEST_DIR"/carried*
		mkdir "$TEST_DIR/carried.disks"
		vckpt adopt other n1 --store "$TEST_DIR/carried" # makes it
		vckpt export heat "$TEST_DIR/carried.images" &&
			vckpt import "$TEST_DIR/carried.images" --store "$TEST_DIR/carried" --disks "$TEST_DIR/carried.disks"
		;;
	# A copy of the store, in which a byte of the newest epoch is another.
	mend)
		rm -rf "$TEST_DIR/copy"
		cp -a "$VCKPT_STORE" "$TEST_DIR/copy"
		spoil "$(newest_pack "$TEST_DIR/copy")"
		vckpt repair heat --apply --store "$TEST_DIR/copy"
		;;
	# To a place that is marked, by vckptd behind the commit.
	flush)
		vckpt flush heat "$TEST_DIR/place" --after-commit
		vckpt checkpoint heat || told=$?
		wait_until 20 followed
		return $told
		;;
	# Slowly, so that it can be met in the middle.
	migrate) outside migrate roam n1 h2 --limit 16 ;;
	esac
}

# followed: the newest epoch is at the places that are marked.
followed()
{
	vckpt ls heat --json | jq -e '[.[-1].copies[] | select(.after_commit) | .state == "whole"] | all' >/dev/null
}

# outside ARGUMENTS: vckpt on a machine that is no host, which reaches the hosts by a launcher; the guest without a
# disk is in the cluster "roam", too.
outside()
{
	VCKPT_STORE=$TEST_DIR/roam VCKPT_CONFIG=$TEST_DIR/roam.conf VCKPT_FAULTS=$host_faults \
		VCKPT_LAUNCHER="env -u VCKPT_FAULTS $lab exec {host} $VCKPT_BUILD/run vckptd --stdio" \
		VCKPT_SOCKET=$TEST_DIR/nobody.sock "$VCKPT_BUILD/run" "$VCKPT_BUILD/vckpt" "$@" &
	outside=$!
	echo $outside >"$TEST_DIR/outside.pid"
	wait $outside
}

roam_ready()
{
	cat >"$TEST_DIR/roam.conf" <<-X
		[migrate]
		peer = qemu+unix:///system?socket=$LAB_DIR/hosts/{host}/run/libvirt/libvirt-sock
		data = unix://$TEST_DIR/to-{host}
	X
	outside adopt roam h1:n1 >/dev/null || give_up "the guest that moves is not adopted"
	cat >"$TEST_DIR/reach" <<-X
		[ "\$1" != gone ] || [ ! -e "$TEST_DIR/off" ] || exit 1
		exec env -u VCKPT_FAULTS "$lab" exec h1 "$VCKPT_BUILD/run" vckptd --stdio
	X
}

# A cluster of the guest without a disk, with an epoch.
lost_ready()
{
	rm -rf "$TEST_DIR/lost" "$TEST_DIR/off"
	lost adopt lost gone:n1 && lost checkpoint lost
}

# Its host is said to be off; the guest goes to another one.
restart_lost()
{
	touch "$TEST_DIR/off"
	lost restart lost --on h1 --lost gone --destroy
}

# lost ARGUMENTS: vckpt on a machine that is no host, which knows h1 by two names, one of them until that is "off".
lost()
{
	VCKPT_STORE=$TEST_DIR/lost VCKPT_CONFIG=/dev/null VCKPT_FAULTS=$host_faults VCKPT_SOCKET=$TEST_DIR/nobody.sock \
		VCKPT_LAUNCHER="sh $TEST_DIR/reach {host}" "$VCKPT_BUILD/run" "$VCKPT_BUILD/vckpt" "$@" &
	outside=$!
	echo $outside >"$TEST_DIR/outside.pid"
	wait $outside
}

newest_pack()
{
	local all=("$1"/clusters/heat/epochs/*.json) e
	e=${all[-1]##*/}
	find "$1/clusters/heat/data/${e%.json}" -name '*.pack' -size +8k | head -n 1
}

# newest_layer: a file that the newest epoch has of the disk.
newest_layer()
{
	vckpt show heat --json | jq -r '[.. | .layers? // empty | .[].path][-1]'
}

# spoil FILE: a byte in its middle.
spoil()
{
	local at=$(($(stat -c %s "$1") / 2)) was
	was=$(od -An -tu1 -j $at -N 1 "$1")
	printf "\\x$(printf %x $((was ^ 1)))" | dd of="$1" bs=1 seek=$at conv=notrunc status=none
}

# vckpt_for SECONDS ARGUMENTS: until it is told to end.
vckpt_for()
{
	local s=$1
	shift
	"$lab" exec h1 "$VCKPT_BUILD/run" timeout -s INT "$s" vckpt "$@"
}
