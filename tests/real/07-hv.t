#!/bin/bash
# The capture and restore engines against a real guest, without anything above them: tests/hv/engines.
# shellcheck source=tests/real/vckpt.sh
. "$(dirname "$0")/vckpt.sh"

"$lab" up --owner $$ --scratch "$TEST_DIR" --cache "$VCKPT_TEST_CACHE" || give_up "no lab"
mkdir "$TEST_DIR/hv"
"$lab" exec h1 "$here/../hv/engines" "$VCKPT_BUILD/tests/hv/hv-drive" "$TEST_DIR/hv" 2>&1 |
	sed 's/^ok  */ok /; s/^FAIL /not ok /' >"$TEST_DIR/engines.log"
cat "$TEST_DIR/engines.log"
passed=$(grep -c '^ok ' "$TEST_DIR/engines.log")
failed=$(grep -c '^not ok ' "$TEST_DIR/engines.log")
grep -q ' passed, [0-9]* failed$' "$TEST_DIR/engines.log" || fail "the engines' test goes to its end"
finish
