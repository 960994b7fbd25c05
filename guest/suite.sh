# shellcheck shell=bash disable=SC2154 # variables and functions of guest/build
# suite.sh: guests of another Debian suite than this machine's. A tree of that suite is made once and kept;
# what belongs in a guest is compiled inside it, and guest/build itself is run there: it then finds in
# "this machine" what the suite has. Only the kernel is the real machine's.
#
#   $tree/root    the suite's files
#   $tree/build   agent, component and examples, compiled there
#   $tree/made    what the tree was made of; if that is to be otherwise now, it is made anew

# What guest/build needs, and what ./configure --disable-host asks for.
suite_packages=(
	busybox-static cpio kmod lz4 zstd xz-utils
	gcc libc6-dev make pkgconf libxxhash-dev libevent-dev libnl-3-dev libnl-route-3-dev
	libpmix-dev libopenmpi-dev openmpi-bin libucx0
)

# The mirror that this machine's own packages come from.
suite_mirror()
{
	local name uri
	name=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
	# shellcheck disable=SC2016 # apt-get's variable
	uri=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Component: main' \
		"Release: $name" 2>/dev/null | head -n 1)
	[ -n "$uri" ] || die "apt-get knows no mirror of Debian $name: see /etc/apt/sources.list"
	echo "$uri"
}

# Makes the tree, unless it is there as it is wanted.
suite_tree()
{
	local uri made="$suite ${suite_packages[*]}"
	if [ -e "$tree/made" ] && [ "$(cat "$tree/made")" = "$made" ]; then
		return 0
	fi
	need mmdebstrap mmdebstrap
	uri=$(suite_mirror) || exit 1
	say "making a tree of Debian $suite in $tree (once)"
	rm -rf "$tree/made" "$tree/root" "$tree/build"
	if ! mmdebstrap --mode=root --variant=minbase --format=directory \
		--dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' \
		--include="$(IFS=, && echo "${suite_packages[*]}")" \
		"$suite" "$tree/root" "deb $uri $suite main" </dev/null >"$tree/log" 2>&1; then
		tail -n 20 "$tree/log" >&2
		die "no tree of $suite could be made from $uri (all that was said: $tree/log)"
	fi
	mkdir -p "$tree/root/host" "$tree/root/usr/lib/modules"
	echo "$made" >"$tree/made"
}

# inside COMMAND...: in the tree, with the real machine's files below /host. The mounts are this command's
# own and gone with it.
inside()
{
	# shellcheck disable=SC2016 # for the other shell
	unshare -m --propagation private -- sh -ec '
		root=$0
		mount --rbind / "$root/host"
		for d in proc dev boot usr/lib/modules; do
			mount --rbind "/$d" "$root/$d"
		done
		exec chroot "$root" "$@"' "$tree/root" "$@"
}

# there FILE: its name inside.
there()
{
	echo "/host$(realpath -m -s "$1")"
}

# Agent, component and examples, from the same source.
suite_compile()
{
	local top=${here%/*}
	[ -x "$top/configure" ] || die "$top/configure is not there: run ./autogen.sh first"
	mkdir -p "$tree/build"
	# shellcheck disable=SC2016 # for the other shell
	if ! inside sh -ec 'cd "$1"
		[ -e Makefile ] || "$2/configure" -q --disable-host --prefix=/usr --sysconfdir=/etc --localstatedir=/var
		make -s -j"$(nproc)" all' - "$(there "$tree/build")" "$(there "$top")" \
		>"$tree/build.log" 2>&1 </dev/null; then
		tail -n 20 "$tree/build.log" >&2
		die "vckpt does not build in $suite (all that was said: $tree/build.log)"
	fi
}

# The whole of guest/build --suite.
suite_build()
{
	local args=() a
	[ "$(id -u)" = 0 ] || die "only root can use --suite: programs of $suite are run in a tree of their own"
	mkdir -p "$tree" "$out"
	tree=$(cd "$tree" && pwd -P)
	exec 8>"$tree/lock"
	flock 8
	suite_tree
	suite_compile
	[ -n "$agent" ] || agent=$tree/build/vckpt-agent
	[ ${#components[@]} -gt 0 ] || components=("$tree/build/.libs/mca_hook_vckpt.so")
	adds+=("$tree/build/examples/heat2d:/usr/bin/heat2d" "$tree/build/tests/ompi/traffic:/usr/bin/traffic"
		"$tree/build/tests/ompi/events:/usr/bin/pmix-events"
		"$tree/build/tests/mpi/mpi-cases:/usr/bin/mpi-cases")
	args+=(--out "$(there "$out")" --compress "$compress" --agent "$(there "$agent")")
	[ -z "$quiet" ] || args+=(--quiet)
	[ -z "$ucx" ] || args+=(--with-ucx)
	[ -z "$kernel" ] || args+=(--kernel "$kernel")
	for a in "${components[@]}"; do
		args+=(--component "$(there "$a")")
	done
	for a in ${modules[@]+"${modules[@]}"}; do
		args+=(--module "$a")
	done
	for a in ${libs[@]+"${libs[@]}"}; do
		args+=(--lib "$(there "$a")")
	done
	for a in "${adds[@]}"; do
		case $a in
		*:*) args+=(--add "$(there "${a%%:*}"):${a#*:}") ;;
		*) args+=(--add "$(there "$a")") ;;
		esac
	done
	inside bash "$(there "$here")/build" "${args[@]}"
}
