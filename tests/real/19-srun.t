#!/bin/bash
# Slurm inside the cluster: srun starts an MPI job by PMIx, controller, daemons and srun in the guests; checkpoint, kill,
# restart, the right answer, and Slurm knows the job as before. srun outside the cluster is told, and refused.
# shellcheck source=tests/real/vckpt.sh
. "$(dirname "$0")/vckpt.sh"
# shellcheck source=tests/lab/slurm.sh
. "$(dirname "$0")/../lab/slurm.sh"
lib=/usr/lib/x86_64-linux-gnu

# slurm_image: the guests' image, with Slurm and Munge in it.
slurm_image()
{
	local f args=()
	mkdir -p "$TEST_DIR/made"
	slurm_files "$TEST_DIR/made" pmix <<-'END'
		SlurmctldHost=n1(10.99.0.1)
		SlurmctldLogFile=/run/slurm/ctld.log
		SlurmdLogFile=/run/slurm/d.log
		NodeName=n1 NodeAddr=10.99.0.1 CPUs=4 State=UNKNOWN
		NodeName=n2 NodeAddr=10.99.0.2 CPUs=4 State=UNKNOWN
		PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
	END
	cat >"$TEST_DIR/made/start-slurm" <<-'END'
		#!/bin/sh
		# In a guest: Munge, and what of Slurm belongs here.
		mkdir -p /run/slurm/state /run/slurm/spool /run/munge /etc/munge /var/log /var/lib
		cp /usr/lib/guest/munge.key /etc/munge/munge.key && chmod 600 /etc/munge/munge.key
		munged --force --key-file /etc/munge/munge.key --pid-file /run/munge.pid --log-file /run/munge.log \
			--seed-file /run/munge.seed || exit
		[ "$(hostname)" != n1 ] || slurmctld || exit
		[ "$(hostname)" = n3 ] || slurmd
	END
	for f in "$lib"/slurm-wlm/*.so; do
		case $f in
		*lua* | *openapi* | *rest_auth* | *libslurm_pmi*) continue ;;
		esac
		args+=(--add "$f:$f")
	done
	for f in slurmctld slurmd slurmstepd munged; do
		args+=(--add "/usr/sbin/$f:/usr/sbin/$f")
	done
	for f in srun sinfo squeue scontrol; do
		args+=(--add "/usr/bin/$f:/usr/bin/$f")
	done
	VCKPT_TEST_IMAGE=$TEST_DIR/image
	"$top_src/guest/build" --quiet --out "$VCKPT_TEST_IMAGE" --agent "$VCKPT_BUILD/vckpt-agent" \
		--component "$VCKPT_BUILD/.libs/mca_hook_vckpt.so" --add "$VCKPT_BUILD/examples/heat2d:/usr/bin/heat2d" \
		--add "$lib/pmix2/lib/libpmix.so:$lib/pmix2/lib/libpmix.so" \
		--add "$lib/openmpi/lib/openmpi3/mca_schizo_slurm.so:$lib/openmpi/lib/openmpi3/mca_schizo_slurm.so" \
		--add "$TEST_DIR/made/munge.key:/usr/lib/guest/munge.key" --add "$TEST_DIR/made/slurm.conf:/etc/slurm/slurm.conf" \
		--add "$TEST_DIR/made/cgroup.conf:/etc/slurm/cgroup.conf" \
		--add "$TEST_DIR/made/start-slurm" "${args[@]}" || give_up "no guest image with Slurm"
}

# srun_starts GUEST: the job, from there; its output is that of the job "mpi" there.
srun_starts()
{
	"$lab" run "$1" "job start mpi srun --mpi=pmix -N 2 -n 4 heat2d $(heat_args)" || give_up "srun does not start"
}

nodes_idle()
{
	[ "$("$lab" run n1 'sinfo -h -t idle -o %D' 2>/dev/null)" = 2 ]
}

slurm_image
lab_start 3
expect_ok "two of three guests are adopted" vckpt adopt heat n1 n2
for g in n1 n2 n3; do
	"$lab" run $g 'chmod 755 /usr/bin/start-slurm; start-slurm' >"$TEST_DIR/slurm-$g.log" 2>&1 ||
		give_up "Slurm does not start in $g: $("$lab" run $g 'tail -n 5 /run/slurm/*.log')"
done
wait_until 60 nodes_idle || give_up "Slurm has no idle nodes: $("$lab" run n1 'sinfo; tail -n 20 /run/slurm/*.log')"

srun_starts n1
job_wait_step 80 || give_up "the job does not start: $(job_output; "$lab" run n1 'tail -n 20 /run/slurm/*.log')"
for gate in nic-plug socket; do
	expect_ok "checkpoint with gate $gate" vckpt checkpoint heat --gate $gate --drain require
done
expect_eq "all four ranks are attached and held" \
	"$(vckpt show heat --json | jq '[.record.guests[].prepare.processes[] | select(.gated)] | length')" 4
expect_match "a rank away from srun knows where that is" "$(vckpt doctor heat)" \
	'^ok +n2 srun;tcp://10\.99\.0\.1:.*: the launcher .* is in the cluster'
heat_moves "the job goes on after its checkpoints"
kill_guest n1 n2
expect_ok "restart" vckpt restart heat
expect_match "Slurm knows the job as before" "$("$lab" run n1 'squeue -h -o "%T %N"')" '^RUNNING n\[1-2\]$'
heat_ends "the job of srun ends right after the restart"
expect_ok "and its nodes are free for the next one" wait_until 60 nodes_idle

guests=(n3 n1 n2)
srun_starts n3
job_wait_step 40 || give_up "the job of the srun outside does not start: $(job_output)"
said=$(vckpt checkpoint heat --drain require 2>&1)
status=$?
expect_ok "a job whose srun is outside is refused" test $status -ne 0
expect_match "with a sentence that names it and the way out" "$said" \
	'started from outside the cluster \(srun;tcp://10\.99\.0\.3:.*run mpirun or srun in one of its guests'
expect_match "doctor says so, too" "$(vckpt doctor heat)" \
	'^bad +n[12] srun;tcp://10\.99\.0\.3.*is outside the cluster.*'
expect_ok "nobody is held" guests_free
expect_ok "the same, cut all the same" vckpt checkpoint heat --drain prefer
expect_match "and its record says why" "$(vckpt show heat --json | jq -r '.record.notes[]')" 'started from outside the cluster'
finish
