/*
 * Stands in for a header of Open MPI 5.0 that packages of it (Debian 13) leave out although their
 * other headers include it.  It has what is needed to read those and no more: nothing here is ever
 * called.
 */
#ifndef VCKPT_COMPAT_THREADS_PTHREADS_MUTEX_H
#define VCKPT_COMPAT_THREADS_PTHREADS_MUTEX_H

#include <pthread.h>
#include <stdbool.h>

typedef pthread_mutex_t opal_thread_internal_mutex_t;
typedef pthread_cond_t opal_thread_internal_cond_t;

#define OPAL_THREAD_INTERNAL_MUTEX_INITIALIZER           PTHREAD_MUTEX_INITIALIZER
#define OPAL_THREAD_INTERNAL_RECURSIVE_MUTEX_INITIALIZER PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP
#define OPAL_THREAD_INTERNAL_COND_INITIALIZER            PTHREAD_COND_INITIALIZER

int opal_thread_internal_mutex_init(opal_thread_internal_mutex_t *m, bool recursive);
void opal_thread_internal_mutex_lock(opal_thread_internal_mutex_t *m);
int opal_thread_internal_mutex_trylock(opal_thread_internal_mutex_t *m);
void opal_thread_internal_mutex_unlock(opal_thread_internal_mutex_t *m);
void opal_thread_internal_mutex_destroy(opal_thread_internal_mutex_t *m);
int opal_thread_internal_cond_init(opal_thread_internal_cond_t *c);
void opal_thread_internal_cond_wait(opal_thread_internal_cond_t *c,
				    opal_thread_internal_mutex_t *m);
void opal_thread_internal_cond_broadcast(opal_thread_internal_cond_t *c);
void opal_thread_internal_cond_signal(opal_thread_internal_cond_t *c);
void opal_thread_internal_cond_destroy(opal_thread_internal_cond_t *c);

#endif
