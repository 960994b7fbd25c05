#!/bin/bash
# A job over two hosts: checkpointed, lost, brought back with its guests exchanged, then all on one host; a vckptd
# that is killed in the middle leaves nobody paused or held.  One host is reached through the other.
# shellcheck source=tests/real/hosts.sh
. "$(dirname "$0")/hosts.sh"

hosts_start 2 1
: >"$TEST_DIR/reached"
expect_ok "a checkpoint over two hosts" vckpt checkpoint heat
expect_eq "of which one was reached by the other" "$(sort "$TEST_DIR/reached" | tr '\n' ' ')" "h1-h2 outside-h1 "
heat_moves "the job goes on"
expect_eq "its hosts are told, one that is not there, too" \
	"$(vckpt hosts heat h9 --json | jq -r '[.hosts[] | .host, .state, (.guests | join("+")), ((.detail.qemu // 0) > 0 | tostring)] | join(" ")')" \
	"h1 up n1 true h2 up n2 true h9 silent  false"

# In the middle of a capture, on one host only.
vckpt_stopped progress checkpoint heat && {
	"$lab" exec h2 pkill -KILL -x vckptd || fail "vckptd of h2 is there to be killed"
	kill -CONT "$vckpt_pid"
	wait "$vckpt_job"
	expect_eq "vckptd of one host killed in the middle: the epoch is void" "$?, $(epochs)" "10, 1 "
	serve_on h2
	expect_ok "and nobody is left paused or held" wait_until 30 hosts_free h1:n1 h2:n2
}
# What is in between is lost: both hosts are.
vckpt_stopped progress checkpoint heat && {
	"$lab" exec h1 pkill -KILL -f 'vckptd --stdio$' || fail "there is a relay to be killed"
	kill -CONT "$vckpt_pid"
	wait "$vckpt_job"
	expect_eq "the relay killed in the middle: the epoch is void" "$?, $(epochs)" "10, 1 "
	expect_ok "and nobody is left paused or held" wait_until 30 hosts_free h1:n1 h2:n2
}

kill_on h1 n1
kill_on h2 n2
expect_ok "restarted with the guests exchanged" vckpt restart heat --on n1=h2,n2=h1
expect_ok "each runs on the other host, and only there" eval 'only_on n1 h2 && only_on n2 h1'
expect_eq "and is known to be there" "$(vckpt status heat --json | jq -r '[.guests[].host] | join(" ")')" "h2 h1"
heat_moves "the job goes on there"
expect_ok "a checkpoint from there" vckpt checkpoint heat
said=$(vckpt restart heat --on h1 2>&1)
expect_match "while it runs it is not started elsewhere" "$?: $said" '^7: .*still there: guest n1 .*two copies'
# A host whose QEMU cannot take the guests: found out before anything is destroyed.
qemu=$(command -v qemu-system-x86_64)
"$lab" exec h2 mount --bind /bin/false "$qemu"
said=$(vckpt restart heat --on h2 --destroy 2>&1)
expect_match "a host without the guests' QEMU is refused" "$?: $said" "^7: .*host h2: guest n[12]: machine type .*$qemu.*cannot be had.*: install"
expect_ok "and nothing was destroyed" hosts_free h2:n1 h1:n2
"$lab" exec h2 umount "$qemu"
expect_ok "all on one host, what still runs destroyed" vckpt restart heat --on h1 --destroy
expect_ok "they run there and only there" eval 'only_on n1 h1 && only_on n2 h1'
heat_ends "the job ends right"
finish
