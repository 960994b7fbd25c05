/*
 * host/images.h: definitions and disks of guests that are written as files and read from them, on
 * this machine and without libvirt (store/export.h, store/import.h).  Thread-safe.
 */
#ifndef VCKPT_HOST_IMAGES_H
#define VCKPT_HOST_IMAGES_H

#include <stdint.h>

#include "base/error.h"
#include "store/export.h"

/* By qemu-img. */
extern const struct vckpt_export_disks vckpt_images_disks;

/* Of the definition in a save image: the domain's name, and how many disks it can write to.
 * VCKPT_EDAMAGED: that is no definition of a domain.  Blocks on the file. */
int vckpt_images_look(const char *path, char name[256], uint32_t *disks, struct vckpt_error *err);

#endif
