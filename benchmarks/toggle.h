/*
 * toggle.h: takes the component's gate out of this process and puts it in again, in the very way
 * Open MPI does at MPI_Finalize and MPI_Init: by calling the component's two hooks.  So both can be
 * timed in one process, in turn, with the same memory, connections and processors.  What is said
 * about the gate is not believed: it is read in the slot, where the agent reads it.
 */
#ifndef BENCH_TOGGLE_H
#define BENCH_TOGGLE_H

#include <stdbool.h>

/* After MPI_Init.  Ends the job if the component was not loaded or holds nothing.  Where there is a
 * processor for each rank, it stays on its own from now on. */
void toggle_init(void);

/* All ranks call it before a block of work.  Ends the job if the slot does not say what was asked
 * for. */
void toggle_block(bool in);

/* Import slots under the gate when it was last in, and how often it was put in and proven to be. */
unsigned toggle_sites(void);
unsigned toggle_times(void);

/*
 * Blocks of work with the gate out and in by turns (out, in, in, out, ...), `warm` before each.  A
 * block is TOGGLE_PARTS times work(), and its time the median of these: what interrupts one of them
 * does not count.  Rank 0 prints "pair NAME OUT IN", nanoseconds for each of the `messages` of a
 * work(), and by turns with these "control NAME IN IN": the same with the gate in on both sides.
 */
enum { TOGGLE_PARTS = 15 };
void toggle_pairs(const char *name, unsigned pairs, void (*work)(void), void (*warm)(void),
		  double messages);

/* The middle one of `n` times, which it sorts. */
double toggle_median(double *times, unsigned n);

/* Block `i`: the second of its pair's two sides (in) or the first (out), and whether its pair is a
 * control, which each fourth is.  The order within a pair is turned round each time. */
static inline bool toggle_control(unsigned i)
{
	return i / 2 % 4 == 3;
}

static inline bool toggle_second(unsigned i)
{
	unsigned pair = i / 2;

	return (i + pair + pair / 4) % 2;
}

static inline unsigned toggle_blocks(unsigned pairs)
{
	return 2 * (pairs + pairs / 3);
}

#endif
