/* Stands in for a header that packages of Open MPI 5.0 leave out: see threads_pthreads_mutex.h. */
#ifndef VCKPT_COMPAT_THREADS_PTHREADS_THREADS_H
#define VCKPT_COMPAT_THREADS_PTHREADS_THREADS_H

#include <pthread.h>

#endif
