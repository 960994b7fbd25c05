/*
 * vckpt/vckpt.h: what a program that runs inside a checkpointed cluster can ask.
 *
 * A program needs none of this to be checkpointed: an MPI job is held by the Open MPI component
 * that its launcher loads.  This is for the program that wants to know.
 *
 * Conventions, for all functions below unless they say otherwise:
 *   - they may be called at any time, from any thread, before and after MPI_Init and MPI_Finalize,
 * and in the child of a fork();
 *   - they keep no state and allocate nothing that the caller could have to free;
 *   - they do not block: at most one small file in memory (tmpfs) is read, a few microseconds;
 *   - outside a vckpt guest they return what their description says for that case, and errno is not
 *     changed in any case.
 *
 * Link with `pkg-config --libs vckpt`.
 */
#ifndef VCKPT_VCKPT_H
#define VCKPT_VCKPT_H

/** Version of this header.  Within one major version functions are only added. */
#define VCKPT_VERSION_MAJOR 0
#define VCKPT_VERSION_MINOR 1
#define VCKPT_VERSION_PATCH 0

/** One number that can be compared: VCKPT_VERSION >= VCKPT_MAKE_VERSION(1, 2, 0). */
#define VCKPT_MAKE_VERSION(major, minor, patch) (((major)*100 + (minor)) * 100 + (patch))
#define VCKPT_VERSION                                                                              \
	VCKPT_MAKE_VERSION(VCKPT_VERSION_MAJOR, VCKPT_VERSION_MINOR, VCKPT_VERSION_PATCH)

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Version of the library the program runs with, which may be newer than the header it was compiled
 * with.
 *
 * \return a number to compare with VCKPT_MAKE_VERSION().  Never fails.
 */
unsigned vckpt_version(void);

/**
 * Whether this process runs in a guest that can be checkpointed: the guest's agent has published
 * its control page (or has done so since the guest booted and was stopped meanwhile).
 *
 * \return 1 if so; 0 if not.
 */
int vckpt_in_guest(void);

/**
 * How many times the cluster this guest belongs to was restored from a checkpoint.  A program that
 * keeps something the checkpoint does not contain (a connection to a licence server, a device
 * outside) compares this with the value it saw last.
 *
 * The number goes up before any process of a restored guest may send to another guest again.
 *
 * \return 0 in a cluster that was never restored, else the number of restores so far; -1 outside a
 * vckpt guest.
 */
long vckpt_incarnation(void);

#ifdef __cplusplus
}
#endif

#endif
