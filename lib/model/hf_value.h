/* What keys of Hugging Face's config.json say.  -EBADMSG for a value of another kind. */
#ifndef LSC_MODEL_HF_VALUE_H
#define LSC_MODEL_HF_VALUE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "model/config.h"
#include "stream/jansson.h"

/* The value of a key that says something: null is as good as absent, and NULL. */
const json_t *lsc_hf_get(const json_t *object, const char *key);

/* Not there at all, not even as null. */
bool lsc_hf_is_absent(const json_t *object, const char *key);

/* absent NULL: it must be there. */
int lsc_hf_uint(const json_t *object, const char *key, const uint32_t *absent, uint32_t *ret_value,
		struct lsc_err *err);
int lsc_hf_real(const json_t *object, const char *key, float absent, float *ret_value,
		struct lsc_err *err);
int lsc_hf_bool(const json_t *object, const char *key, bool absent, bool *ret_value,
		struct lsc_err *err);

/* -EOPNOTSUPP: "FEATURE is not supported". */
int lsc_hf_refuse(const char *feature, struct lsc_err *err);

/* How positions turn heads (hf_rope.c); head_dim and context are known by then. */
int lsc_hf_rope_parse(const json_t *root, struct lsc_model_config *config, struct lsc_err *err);

#endif
