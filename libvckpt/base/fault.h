/*
 * base/fault.h: named places where a test may kill, delay or fail the process that comes by.
 *
 * They are there with `configure --enable-fault-points` alone; in any other build nothing of a call
 * is left (tests/check/faults).  tests/faults/points lists all points of the source,
 * tests/campaign goes through them.
 *
 * A process is armed by a file: that of VCKPT_FAULTS in its environment, else /run/vckpt/faults.
 * It is read anew at each point, so a process can be armed while it runs; a new file (another inode
 * or time) counts from 1 again.  A line is
 *
 *     PROGRAM POINT N ACTION     at the N-th time that PROGRAM ("*": any) comes by POINT
 *     PROGRAM trace 0 -          every point it comes by is written to FILE.hits
 *
 * and an action is kill (SIGKILL), delay=MILLISECONDS, error or error=ENOSPC (EIO if none is
 * named).  A kill is struck out when it is done ("#" is no program), so that the process that comes
 * after does not meet it again.  What was done is written to FILE.fired before it is done, as
 * "PROGRAM POINT ACTION".
 */
#ifndef VCKPT_BASE_FAULT_H
#define VCKPT_BASE_FAULT_H

#include "base/error.h"

#ifdef VCKPT_FAULT_POINTS

/* Comes by the point "POINT.STEP", or "POINT" if `step` is NULL.  Returns -1, with VCKPT_ESYSTEM
 * and an errno, if an error was ordered, else 0.  May block (delay).  Thread-safe. */
int vckpt_fault_point(const char *point, const char *step, struct vckpt_error *err);

/* The same where nothing can fail: an error that is ordered here is not done. */
void vckpt_fault_here(const char *point, const char *step);

#else

/* Not functions: what stands between the parentheses is not looked at either. */
#define vckpt_fault_point(point, step, err) 0
#define vckpt_fault_here(point, step)       ((void)0)

#endif

#endif
