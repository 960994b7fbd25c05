/* io.c: MPI-IO, together and alone, read back and compared. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cases.h"

enum { BLOCK = 20000, BLOCKS = 4 };

/* Those who see the same files: all ranks where all are on one machine's disk, else those of this
 * guest. */
static MPI_Comm together(char *folder, size_t len)
{
	const char *tmp = getenv("CASES_DIR") ? getenv("CASES_DIR") : getenv("TMPDIR");
	char path[300];
	int sees = 1;
	MPI_Comm c;

	snprintf(folder, len, "%s/mpi-cases.%ld", tmp ? tmp : "/tmp", (long)getpid());
	MPI_Bcast(folder, (int)len, MPI_CHAR, 0, MPI_COMM_WORLD);
	snprintf(path, sizeof(path), "%s.seen", folder);
	if (me.rank == 0)
		fclose(fopen(path, "w"));
	MPI_Barrier(MPI_COMM_WORLD);
	sees = access(path, F_OK) == 0;
	MPI_Allreduce(MPI_IN_PLACE, &sees, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
	if (me.rank == 0)
		unlink(path);
	if (sees)
		MPI_Comm_dup(MPI_COMM_WORLD, &c);
	else
		MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, me.rank, MPI_INFO_NULL,
				    &c);
	return c;
}

/* Blocks of all ranks interleaved in one file, by a view; written and read by all at once. */
static void collective(MPI_Comm c, const char *path, int tag)
{
	unsigned char *out = room(BLOCK * BLOCKS), *in = room(BLOCK * BLOCKS);
	MPI_Datatype view;
	MPI_Request q;
	MPI_File f;
	int rank, size;

	MPI_Comm_rank(c, &rank);
	MPI_Comm_size(c, &size);
	MPI_Type_vector(BLOCKS, BLOCK, BLOCK * size, MPI_BYTE, &view);
	MPI_Type_commit(&view);
	must(MPI_File_open(c, path, MPI_MODE_CREATE | MPI_MODE_RDWR, MPI_INFO_NULL, &f) ==
		     MPI_SUCCESS,
	     "%s cannot be opened", path);
	MPI_File_set_view(f, (MPI_Offset)rank * BLOCK, MPI_BYTE, view, "native", MPI_INFO_NULL);
	fill(out, BLOCK * BLOCKS, key(me.rounds, rank, 0, tag));
	MPI_File_write_at_all(f, 0, out, BLOCK * BLOCKS, MPI_BYTE, MPI_STATUS_IGNORE);
	MPI_File_sync(f);
	MPI_File_read_at_all(f, 0, in, BLOCK * BLOCKS, MPI_BYTE, MPI_STATUS_IGNORE);
	check(in, BLOCK * BLOCKS, key(me.rounds, rank, 0, tag), "read by all");

	/* The blocks of the next rank, alone, through its view. */
	rank = (rank + 1) % size;
	MPI_File_set_view(f, (MPI_Offset)rank * BLOCK, MPI_BYTE, view, "native", MPI_INFO_NULL);
	memset(in, 0, BLOCK * BLOCKS);
	MPI_Barrier(c);
	MPI_File_iread_at(f, BLOCK, in, BLOCK, MPI_BYTE, &q);
	MPI_Wait(&q, MPI_STATUS_IGNORE);
	check(in, BLOCK, key(me.rounds, rank, 0, tag) + BLOCK / 8 * 0x9e3779b97f4a7c15u,
	      "another rank's block");
	MPI_File_close(&f);
	MPI_Type_free(&view);
	free(in);
	free(out);
}

static void alone(const char *path)
{
	unsigned char *out = room(BLOCK), *in = room(BLOCK);
	MPI_Request q;
	MPI_File f;

	must(MPI_File_open(MPI_COMM_SELF, path, MPI_MODE_CREATE | MPI_MODE_RDWR, MPI_INFO_NULL,
			   &f) == MPI_SUCCESS,
	     "%s cannot be opened", path);
	for (int i = 0; i < BLOCKS; i++) {
		fill(out, BLOCK, key(me.rounds, me.rank, i, 9));
		if (i % 2) {
			MPI_File_write_at(f, (MPI_Offset)i * BLOCK, out, BLOCK, MPI_BYTE,
					  MPI_STATUS_IGNORE);
		} else {
			MPI_File_iwrite_at(f, (MPI_Offset)i * BLOCK, out, BLOCK, MPI_BYTE, &q);
			MPI_Wait(&q, MPI_STATUS_IGNORE);
		}
	}
	for (int i = BLOCKS - 1; i >= 0; i--) {
		MPI_File_seek(f, (MPI_Offset)i * BLOCK, MPI_SEEK_SET);
		MPI_File_read(f, in, BLOCK, MPI_BYTE, MPI_STATUS_IGNORE);
		check(in, BLOCK, key(me.rounds, me.rank, i, 9), "read alone");
	}
	MPI_File_close(&f);
	MPI_File_delete(path, MPI_INFO_NULL);
	free(in);
	free(out);
}

static void io(void)
{
	char folder[256], path[300];
	MPI_Comm c = together(folder, sizeof(folder));
	int first;

	MPI_Comm_rank(c, &first);
	do {
		snprintf(path, sizeof(path), "%s.all", folder);
		collective(c, path, (int)(me.rounds % 3));
		snprintf(path, sizeof(path), "%s.%d", folder, me.rank);
		alone(path);
	} while (go_on(MPI_COMM_WORLD));
	snprintf(path, sizeof(path), "%s.all", folder);
	if (first == 0)
		unlink(path);
	MPI_Comm_free(&c);
}

/* Output only: each round writes the whole file anew, nobody reads it before the end; what is there
 * then is the last round's. */
static void io_output(void)
{
	unsigned char *data = room(BLOCK * BLOCKS);
	char folder[256], path[300];
	MPI_Comm c = together(folder, sizeof(folder));
	MPI_File f;
	int rank;

	MPI_Comm_rank(c, &rank);
	snprintf(path, sizeof(path), "%s.out", folder);
	do {
		must(MPI_File_open(c, path, MPI_MODE_CREATE | MPI_MODE_RDWR, MPI_INFO_NULL, &f) ==
			     MPI_SUCCESS,
		     "%s cannot be opened", path);
		fill(data, BLOCK * BLOCKS, key(me.rounds, rank, 0, 4));
		must(MPI_File_write_at_all(f, (MPI_Offset)rank * BLOCK * BLOCKS, data,
					   BLOCK * BLOCKS, MPI_BYTE,
					   MPI_STATUS_IGNORE) == MPI_SUCCESS,
		     "%s cannot be written", path);
		must(MPI_File_close(&f) == MPI_SUCCESS, "%s cannot be closed", path);
	} while (go_on(MPI_COMM_WORLD));
	MPI_File_open(c, path, MPI_MODE_RDONLY, MPI_INFO_NULL, &f);
	MPI_File_read_at_all(f, (MPI_Offset)rank * BLOCK * BLOCKS, data, BLOCK * BLOCKS, MPI_BYTE,
			     MPI_STATUS_IGNORE);
	check(data, BLOCK * BLOCKS, key(me.rounds - 1, rank, 0, 4), "the output");
	MPI_File_close(&f);
	if (rank == 0)
		unlink(path);
	MPI_Comm_free(&c);
	free(data);
}

const struct mpi_case io_cases[] = {
	{"io", io, MPI_THREAD_SINGLE},
	{"io-output", io_output, MPI_THREAD_SINGLE},
	{NULL, NULL, 0},
};
