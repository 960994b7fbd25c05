"""objects.py: Python objects and buffers between ranks, compared with what must arrive, until the file that is the
argument exists.  What a rank sends follows from its number and the step, so all know what is right."""

import os
import random
import sys
from array import array

from mpi4py import MPI

comm = MPI.COMM_WORLD
rank, size = comm.rank, comm.size


def made_by(who, step):
    """What rank `who` sends in this step: nested, of changing size."""
    chance = random.Random(step * 1000 + who)
    return {
        "who": who,
        "step": step,
        "bytes": chance.randbytes(chance.choice([1, 100, 5000, 70000, 300000])),
        "list": [chance.random() for _ in range(chance.randrange(200))],
        ("a", who): {"none": None, "set": frozenset(chance.sample(range(1000), 20))},
    }


def expect(what, got, wanted):
    if got != wanted:
        print(f"objects: rank {rank}: {what} is wrong", flush=True)
        comm.Abort(1)


def one(step):
    left, right = (rank - 1) % size, (rank + 1) % size
    request = comm.isend(made_by(rank, step), dest=right, tag=step % 1000)
    expect("what came from the left", comm.recv(source=left, tag=step % 1000), made_by(left, step))
    request.wait()
    root = step % size
    expect("bcast", comm.bcast(made_by(root, -step) if rank == root else None, root=root), made_by(root, -step))
    got = comm.alltoall([(rank, to, step, "x" * (step % 50 * 100)) for to in range(size)])
    expect("alltoall", got, [(of, rank, step, "x" * (step % 50 * 100)) for of in range(size)])
    gathered = comm.gather(made_by(rank, step)["list"], root=root)
    if rank == root:
        expect("gather", gathered, [made_by(of, step)["list"] for of in range(size)])
    mine = array("d", [rank * 1000.0 + i + step for i in range(4000)])
    sums = array("d", bytes(8 * len(mine)))
    comm.Allreduce([mine, MPI.DOUBLE], [sums, MPI.DOUBLE], op=MPI.SUM)
    ranks = sum(range(size)) * 1000.0
    expect("Allreduce", sums, array("d", [ranks + size * (i + step) for i in range(4000)]))


step, ends = 0, False
while not ends:
    step += 1
    one(step)
    comm.Barrier()
    if rank == 0:
        print(f"step {step} right", flush=True)
    ends = comm.bcast(os.path.exists(sys.argv[1]) if rank == 0 else None, root=0)
if rank == 0:
    print(f"objects: {step} steps, all right", flush=True)
