/* Rotary position embedding, half-split: element i turns with element i + head_dim/2, as Hugging
 * Face lays heads out.  Angles are computed in double and rounded once.
 */
#ifndef LSC_EXEC_ROPE_H
#define LSC_EXEC_ROPE_H

#include <stdint.h>

#include "base/err.h"
#include "model/config.h"

struct lsc_rope {
	uint32_t half;      /* head_dim / 2 */
	double *speeds;     /* [half]: radians a position, scaled as the model asks */
	double size;        /* that cosines and sines are multiplied by */
	float *table;       /* [len][2][half]: cosines, sines */
	uint32_t len, room; /* positions: worked out, and that the table has room for */
};

#define LSC_ROPE_INIT                                                                              \
	{                                                                                          \
		0                                                                                  \
	}

int lsc_rope_init(struct lsc_rope *rope, const struct lsc_model_config *config,
		  struct lsc_err *err);
void lsc_rope_release(struct lsc_rope *rope);

/* Makes the table reach n positions: 0 or -ENOMEM. */
int lsc_rope_reach(struct lsc_rope *rope, uint32_t n);

/* Turns one head at a position that the table reaches. */
void lsc_rope_turn(const struct lsc_rope *rope, uint32_t pos, float *head);

#endif
