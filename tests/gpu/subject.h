/* A toy model with a block for each unit, and the device that runs it: for tests and measurements.
 */
#ifndef LSC_TESTS_GPU_SUBJECT_H
#define LSC_TESTS_GPU_SUBJECT_H

#include "exec/device.h"
#include "toy.h"

extern const struct lsc_backend_plugin lsc_backend_plugin;

struct subject {
	struct toy toy;
	struct lsc_block blocks[TOY_MAX_TENSORS];
	struct lsc_device device;
};

/* The toy with a block for each unit, which the toy itself has not. */
static inline void subject_init(struct subject *s, const struct lsc_model_config *config,
				enum lsc_dtype dtype)
{
	struct lsc_image *image = &s->toy.image;
	uint64_t end;

	memset(s, 0, sizeof(*s));
	toy_init(&s->toy, config, dtype, 7);
	image->blocks = s->blocks;
	image->n_blocks = image->n_units;
	end = image->bytes;
	for (uint32_t u = image->n_units; u-- > 0;) {
		const struct lsc_unit *unit = &s->toy.units[u];
		uint64_t begin = unit->n_tensors ? s->toy.tensors[unit->first_tensor].offset : end;

		s->blocks[u] = (struct lsc_block){.offset = begin, .bytes = end - begin};
		s->toy.units[u].needs[0] = (struct lsc_need){u, 1};
		end = begin;
	}
	if (config->tied)
		s->toy.units[0].needs[1] = (struct lsc_need){image->n_units - 1, 1};
	s->device.ops = lsc_backend_plugin.ops;
}

static inline void subject_release(struct subject *s)
{
	toy_release(&s->toy);
}

#endif
