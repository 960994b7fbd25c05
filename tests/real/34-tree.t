#!/bin/bash
# Three hosts in a row, each reached through the one before it: all are asked, all answer, and who cannot be reached
# that way is reached directly.  No guest runs.
# shellcheck source=tests/real/hosts.sh
. "$(dirname "$0")/hosts.sh"

# reached COMMAND...: who reached whom meanwhile.
reached()
{
	: >"$TEST_DIR/reached"
	"$@" >"$TEST_DIR/said" 2>&1
	sort "$TEST_DIR/reached" | tr '\n' ' '
}

lab_defined 1 3
tree_of 1
expect_ok "a domain is adopted" vckpt adopt heat n1=h1:n1
expect_eq "each is reached through the one before it" "$(reached vckpt hosts heat h2 h3 --json)" "h1-h2 h2-h3 outside-h1 "
expect_eq "and all answer" "$(jq -r '[.hosts[] | .host, .state] | join(" ")' "$TEST_DIR/said")" "h1 up h2 up h3 up"
expect_eq "one that is not there is tried by each that launches, and directly" "$(reached vckpt hosts heat h2 h9 h3 --json)" \
	"h1-h2 h1-h9 h2-h3 h2-h9 outside-h1 outside-h9 "
expect_eq "and the others answer" "$(jq -r '[.hosts[] | .host, .state] | join(" ")' "$TEST_DIR/said")" \
	"h1 up h2 up h9 silent h3 up"
sed -i 's/--stdio$/--stdio --no-relay/' "$TEST_DIR/reach"
expect_eq "where none may launch others all are reached directly" "$(reached vckpt hosts heat h2 h3 --json)" \
	"outside-h1 outside-h2 outside-h3 "
expect_eq "and all answer" "$(jq -r '[.hosts[] | .host, .state] | join(" ")' "$TEST_DIR/said")" "h1 up h2 up h3 up"
finish
