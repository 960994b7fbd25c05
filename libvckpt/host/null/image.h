/* host/null/image.h: small real captures in a store, for the simulated hosts. */
#ifndef VCKPT_HOST_NULL_IMAGE_H
#define VCKPT_HOST_NULL_IMAGE_H

#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"
#include "wire/host_msg.h"

/* Captures 16 pages of what (guest, epoch) determine.  *receipt is the caller's.  Blocks on files.
 */
int vckpt_null_image_write(const char *store, const struct vckpt_host_request *req,
			   json_t **receipt, struct vckpt_error *err);

/* As vckpt_catalogue_settle(). */
int vckpt_null_image_settle(const char *store, const char *cluster, uint64_t epoch,
			    uint32_t incarnation, bool *over, struct vckpt_error *err);

/* Reads it all back and compares. */
int vckpt_null_image_verify(const char *store, const struct vckpt_host_request *req,
			    struct vckpt_error *err);

#endif
