/* Stands in for a header that packages of Open MPI 5.0 leave out: see threads_pthreads_mutex.h. */
#ifndef VCKPT_COMPAT_THREADS_PTHREADS_TSD_H
#define VCKPT_COMPAT_THREADS_PTHREADS_TSD_H

#include <pthread.h>

typedef pthread_key_t opal_tsd_key_t;

#endif
