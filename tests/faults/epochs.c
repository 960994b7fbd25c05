/* epochs STORE CLUSTER: reads every byte of every committed epoch as a restart would, and says
 * which are whole. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "store/catalogue.h"
#include "store/image.h"
#include "store/layer.h"
#include "store/store.h"

static int check_layers(const struct vckpt_store *store, const char *cluster, uint64_t epoch,
			struct vckpt_error *err)
{
	struct vckpt_epoch e;
	int rc = 0;

	if (vckpt_catalogue_get(store, cluster, epoch, &e, err) < 0)
		return -1;
	for (size_t i = 0; i < e.n_guests && rc == 0; i++)
		if (json_array_size(e.guests[i].disks))
			rc = vckpt_layers_verify(e.guests[i].disks, NULL, NULL, err);
	vckpt_epoch_clear(&e);
	return rc;
}

int main(int argc, char **argv)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_store *store;
	uint64_t *all;
	size_t n;
	int bad = 0;

	if (argc != 3) {
		fprintf(stderr, "Usage: epochs STORE CLUSTER\n");
		return 2;
	}
	store = vckpt_store_open(argv[1], &err);
	if (!store || vckpt_catalogue_list(store, argv[2], &all, &n, &err) < 0) {
		fprintf(stderr, "epochs: %s\n", err.text);
		return 2;
	}
	for (size_t i = 0; i < n; i++) {
		if (vckpt_store_check(store, argv[2], all[i], 1, 0, &err) == 0 &&
		    check_layers(store, argv[2], all[i], &err) == 0) {
			printf("%" PRIu64 " whole\n", all[i]);
			continue;
		}
		printf("%" PRIu64 " LOST: %s\n", all[i], err.text);
		bad = 1;
	}
	free(all);
	vckpt_store_close(store);
	return bad;
}
