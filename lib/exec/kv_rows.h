/* Keys and values of positions as rows, the form in which they go from one node to another
 * (lsc-wire(5)): for each position the keys of all kv heads, then the values, [head_dim] floats
 * each.
 *
 * Keys are as attention reads them, norms and rotation done.  How pages are laid out inside
 * (kv.h) is nobody else's business, and may differ at both ends.
 */
#ifndef LSC_EXEC_KV_ROWS_H
#define LSC_EXEC_KV_ROWS_H

#include <stdbool.h>
#include <stdint.h>

#include "exec/kv.h"

/* Whether pages lie in this process's memory; where not, the functions below must not be called. */
bool lsc_kv_is_readable(const struct lsc_kv *kv);

/* Floats in the row of a position of a layer. */
uint32_t lsc_kv_row_floats(const struct lsc_kv *kv);

/* The first position that a request at n must have of a layer: the beginning of the page of the
 * first that is seen from there. */
uint32_t lsc_kv_needs_from(const struct lsc_model_config *config, uint32_t layer, uint32_t n);

/* Copies positions pos .. pos + n - 1 of a layer out: -ESTALE where they are not all there. */
int lsc_kv_read_rows(const struct lsc_kv *kv, const struct lsc_kv_request *request, uint32_t layer,
		     uint32_t pos, uint32_t n, float *ret_rows);

/* Pages for positions up to n - 1 of a layer that has none yet, beginning with that of `from`; they
 * count as filled once lsc_kv_fill() says so. */
int lsc_kv_expect_rows(struct lsc_kv *kv, struct lsc_kv_request *request, uint32_t layer,
		       uint32_t from, uint32_t n);

/* Copies rows in, to pages that are there: -ESTALE where they are not, -EBADMSG where a number is
 * none, as what stays behind in a page must not spoil the next request that gets it. */
int lsc_kv_write_rows(struct lsc_kv *kv, struct lsc_kv_request *request, uint32_t layer,
		      uint32_t pos, uint32_t n, const float *rows);

/* From now on a request has positions up to n - 1 of all layers. */
void lsc_kv_fill(const struct lsc_kv *kv, struct lsc_kv_request *request, uint32_t n);

/* Hands a layer's pages from one request to another that has none of it. */
void lsc_kv_hand_over(struct lsc_kv_request *from, struct lsc_kv_request *to, uint32_t layer);

#endif
