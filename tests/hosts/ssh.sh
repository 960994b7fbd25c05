# shellcheck shell=bash
# ssh.sh: the lab's hosts reached by a real ssh over the lab's own network, which can be cut, on top of hosts.sh.
# shellcheck disable=SC2016 # scripts for other shells
# shellcheck source=tests/real/hosts.sh
. "$(dirname "${BASH_SOURCE[0]}")/../real/hosts.sh"
command -v /usr/sbin/sshd >/dev/null || give_up "sshd is missing: install openssh-server"

# ssh_to N: sshd in host hN, at its address in the lab; $TEST_DIR/reach is the launcher.
ssh_to()
{
	"$lab" exec "h$1" sh -c 'mkdir -p /run/sshd && exec /usr/sbin/sshd -f "$1" -h "$2" -p 2222 -o PidFile=none \
		-o UsePAM=no -o StrictModes=no -o AuthorizedKeysFile="$3"' - \
		/dev/null "$TEST_DIR/host_key" "$TEST_DIR/key.pub" || give_up "sshd does not start in h$1"
}

reach_hosts()
{
	local lan h
	read -r lan _ <"$LAB_DIR/hosts/lan/pid"
	for h in host_key key; do
		ssh-keygen -q -t ed25519 -N '' -f "$TEST_DIR/$h" || give_up "no keys"
	done
	for h in "$LAB_DIR"/hosts/h[0-9]; do
		ssh_to "${h##*/h}"
	done
	cat >"$TEST_DIR/reach" <<X
#!/bin/sh
exec nsenter -t $lan -n ssh -F none -p 2222 -i $TEST_DIR/key -oBatchMode=yes -oConnectTimeout=5 \\
	-oStrictHostKeyChecking=no -oUserKnownHostsFile=/dev/null -oLogLevel=ERROR \\
	"root@10.99.0.\$((200 + \${1#h}))" $VCKPT_BUILD/run vckptd --stdio
X
	chmod +x "$TEST_DIR/reach"
	export VCKPT_LAUNCHER="$TEST_DIR/reach {host}"
}

link_of()
{
	"$lab" exec "$1" ip link set up0 "$2"
}
