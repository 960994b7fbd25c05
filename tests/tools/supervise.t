#!/bin/bash
# vckpt supervise: what is wrong is told before the hour of need.  What it does: tests/unit/test-supervise.c.
# shellcheck source=tests/tools/lib.sh
. "$(dirname "$0")/lib.sh"
recorded_store

refused "a cluster that is not there" 3 nosuch supervise nosuch
refused "a fence command without a whole path" 2 'absolute path' supervise heat --fence fence_x
refused "one that is not there" 9 "$TEST_DIR/none" supervise heat --fence "$TEST_DIR/none"
printf '#!/bin/sh\n' >"$TEST_DIR/fence"
chmod 777 "$TEST_DIR/fence"
refused "one that others may write" 7 "$TEST_DIR/fence" supervise heat --fence "$TEST_DIR/fence"
chmod 700 "$TEST_DIR/fence"
refused "options for it that are not there" 3 "$TEST_DIR/none" supervise heat --fence "$TEST_DIR/fence" --fence-options "$TEST_DIR/none"
refused "a progress command without a time" 2 'goes with --stall' supervise heat --progress "$TEST_DIR/fence"
refused "one that is not there" 9 "$TEST_DIR/none" supervise heat --progress "$TEST_DIR/none" --stall 60
export VCKPT_CONFIG=$TEST_DIR/vckpt.conf
printf '%s\n' '[supervise]' "fence = $TEST_DIR/none" >"$VCKPT_CONFIG"
refused "one that is set and not there" 9 "$TEST_DIR/none" supervise heat
printf '%s\n' '[supervise]' 'fence = fence_x' >"$VCKPT_CONFIG"
refused "one that is set without a whole path" 2 ':2: fence takes an absolute path' supervise heat
export VCKPT_CONFIG=/dev/null
for words in '--every 0' '--silence soon' '--tries 0' '--budget -1' '--look 0' '--stall 0' '--on -x' 'heat other'; do
	# shellcheck disable=SC2086
	vckpt supervise $words >"$TEST_DIR/said" 2>&1
	is "'$words' is refused" $? 2
done

vckpt report localhost --off --why 'pulled the plug' -q
is "off by hand is said of the present incarnation, the sixth" \
	"$(jq -c '[.event, .host, .state, .incarnation, .text]' "$VCKPT_STORE/clusters/heat/reports")" \
	'["fence","localhost","off",6,"pulled the plug"]'
for words in '--off --failed' '--off --source x' '--off --in 1s'; do
	# shellcheck disable=SC2086
	vckpt report localhost $words >"$TEST_DIR/said" 2>&1
	is "'$words' is refused" $? 2
done
finish
