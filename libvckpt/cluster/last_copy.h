/* cluster/last_copy.h: what a prune must know of other places (store/places.h). */
#ifndef VCKPT_CLUSTER_LAST_COPY_H
#define VCKPT_CLUSTER_LAST_COPY_H

#include <jansson.h>

#include "base/error.h"
#include "store/keep.h"
#include "store/reach.h"

/*
 * Of the epochs that are to go (`keep` false) those stay, with the reason, that are whole here, not
 * whole at any place that can be asked, and on the list of one of these: there something was lost,
 * and this is what it can be mended with.  And of all epochs one stays that is whole, here or
 * elsewhere.  *silent, a new reference: the places that could not be asked.  May block on all
 * places.  Returns how many stay for that.
 */
int vckpt_keep_last_copies(struct vckpt_reach *reach, const char *cluster,
			   struct vckpt_keep_epoch *epochs, size_t n, json_t **silent);

#endif
