/* An engine runs units of one image for many requests (kernels and KV cache inside).
 *
 * A request is (client, number) and has a KV cache for the units it ran here.  Frames of
 * different requests that are waiting run as one batch.  Every output row is computed in a fixed
 * order that depends neither on the batch, nor on the split into stages, nor on the number of
 * threads: a token is the same bit for bit whichever nodes computed it, as long as all of them are
 * exact or none is, and none computes on a GPU; and, of bf16 weights that are not exact, either all
 * or none by the kernels for registers of tiles (kernels.h).
 *
 * One thread calls an engine; inside, `threads` work.
 */
#ifndef LSC_EXEC_ENGINE_H
#define LSC_EXEC_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "exec/kernels.h"
#include "exec/request_table.h"
#include "model/image.h"

struct lsc_device; /* exec/device.h */
struct lsc_engine;

struct lsc_engine_options {
	unsigned threads;  /* 0: the CPUs this process may use (affinity and cgroup quota) */
	uint64_t kv_bytes; /* limit of all KV pages; 0: 1 GiB */
	const struct lsc_kernels *kernels; /* NULL: the best here (tests compare them) */
	const struct lsc_device *device;   /* borrowed while it runs; NULL: the CPU */
	bool exact; /* activations stay f32 in every product (kernels.h), and keys and values; else
		     * they are rounded where the weights' format has a faster product, and keys
		     * and values to f16 where weights are not f32 */
	uint64_t *progress; /* grows, atomically, with each layer that is computed on the CPU and
			     * each batch elsewhere; NULL: nobody looks */
};

/* Borrows image; data is the image's bytes (a segment's, while they arrive). */
int lsc_engine_open(struct lsc_engine **ret_engine, const struct lsc_image *image,
		    const uint8_t *data, const struct lsc_engine_options *options,
		    struct lsc_err *err);
void lsc_engine_close(struct lsc_engine *engine);

/* What to draw from the logits of a work's last position (sample.h). */
struct lsc_draw {
	float temp, top_p;
	uint64_t seed;
	uint32_t pos;
	uint32_t token; /* where it is drawn */
	bool drawn;     /* by the device: then the logits are not given out */
};

/* One request's part in a batch: positions pos .. pos+n-1 through units first .. last. */
struct lsc_work {
	struct lsc_request_key key;
	uint32_t first, last;
	uint32_t pos, n;
	const uint32_t *ids;   /* [n] where first is 0 */
	const float *in;       /* [n][hidden] where it is not */
	float *out;            /* [n][hidden] where last is not the head, may be in; else [vocab]:
				* the logits of position pos+n-1, or NULL, and they are not computed */
	float *all_logits;     /* optional [n][vocab], for tests */
	struct lsc_draw *draw; /* optional, where last is the head: a token will do, if the device
				* draws; drawn is set to whether it did */
	int result;            /* 0; -ESTALE: the KV here does not reach pos; -ENOSPC: no KV page;
				* -ERANGE: past the model's context; -EINVAL: no such units or ids */
};

/* Runs them.  Works with the same units run as one batch.  0, or negative errno for what concerns
 * all of them; each work's own outcome is in its result.  The units' blocks must have arrived.
 * A pos below what the KV reaches forgets what is there from pos on. */
int lsc_engine_run(struct lsc_engine *engine, struct lsc_work *works, unsigned n,
		   struct lsc_err *err);

/* These units' blocks have arrived and will be used: a device takes them meanwhile.  Running them
 * does so too; on the CPU there is nothing to do. */
int lsc_engine_load(struct lsc_engine *engine, uint32_t first, uint32_t last, struct lsc_err *err);

/* Forgets a request's KV. */
void lsc_engine_drop(struct lsc_engine *engine, const struct lsc_request_key *key);

/* What it keeps of requests, for whoever decides whom there is room for (kv.h). */
struct lsc_kv;
struct lsc_kv *lsc_engine_kv(struct lsc_engine *engine);

/* Uses a moment in which nothing is to be run: kv.h's lsc_kv_prepare(). */
void lsc_engine_prepare(struct lsc_engine *engine);

/* Bytes of KV pages that requests hold now. */
uint64_t lsc_engine_kv_used(const struct lsc_engine *engine);

#endif
