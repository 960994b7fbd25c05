/*
 * A suspension: the guest stands still from the cut on, and goes when the epoch is committed.
 *
 * Whoever else dies: a guest whose capture is whole and was told to the coordinator runs again only
 * when the store says that the epoch will never be committed, and goes only when it says that it
 * is.  Until the store can be asked it stands still.
 */
#include "base/fault.h"
#include "host/local/internal.h"
#include "store/catalogue.h"

int vckpt_entry_settle(const struct vckpt_journal_entry *e, bool *over, struct vckpt_error *err)
{
	struct vckpt_store *store;
	int rc;

	*over = false;
	if (!e->store[0])
		return 0;
	store = vckpt_store_open(e->store, err);
	if (!store)
		return -1;
	rc = vckpt_fault_point("host.suspend.settle", NULL, err);
	if (rc == 0)
		rc = vckpt_catalogue_settle(store, e->cluster, e->epoch, e->incarnation, over, err);
	vckpt_store_close(store);
	return rc;
}

int vckpt_guest_settle(struct vckpt_guest *g, bool *over, struct vckpt_error *err)
{
	*over = false;
	if (!g->paused || !g->entry.store[0])
		return 0;
	/* It was told to be discarded before: if it is not whole by now nobody will hear of it. */
	g->whole = g->whole || (g->stream && vckpt_stream_whole(g->stream));
	if (!g->whole)
		return 0;
	if (vckpt_entry_settle(&g->entry, over, err) < 0)
		return vckpt_error_prefix(err,
					  "guest %s stands still until it is known whether epoch "
					  "%llu is committed",
					  g->name, (unsigned long long)g->epoch);
	vckpt_session_log(g, VCKPT_INFO, "%s", *over ? "committed: it goes" : "void: it runs on");
	return 0;
}
