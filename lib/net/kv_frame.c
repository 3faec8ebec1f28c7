/* kv_frame - frames about keys and values as records, and back */
#include "net/kv_frame.h"

#include <string.h>

#define FORM      "f32" /* of rows; whoever has another one day gives it another name */
#define MAX_LAYER 65535

/* --- building --- */

static void put_name(struct lsc_pack *pack, const struct lsc_hash *image,
		     const struct lsc_client_id *client, uint64_t request)
{
	lsc_pack_bin(pack, "image", image->bytes, sizeof(image->bytes));
	lsc_pack_bin(pack, "client", client->bytes, sizeof(client->bytes));
	lsc_pack_uint(pack, "request", request);
}

int lsc_frame_pack_adopt(struct lsc_pack *pack, const struct lsc_adopt_frame *adopt,
			 uint32_t body_len)
{
	lsc_pack_begin(pack, "adopt");
	put_name(pack, &adopt->image, &adopt->client, adopt->request);
	lsc_pack_uint(pack, "from", adopt->from);
	lsc_pack_uint(pack, "n", adopt->n);
	lsc_frame_put_route(pack, adopt->route, adopt->n_stages);
	if (adopt->since)
		lsc_pack_uint(pack, "since", adopt->since);
	if (adopt->reach)
		lsc_pack_uint(pack, "reach", adopt->reach);
	if (body_len)
		lsc_pack_uint(pack, "body", body_len);
	return lsc_pack_end(pack);
}

int lsc_frame_pack_moved(struct lsc_pack *pack, const struct lsc_moved_frame *moved)
{
	lsc_pack_begin(pack, "moved");
	lsc_pack_uint(pack, "request", moved->request);
	lsc_pack_uint(pack, "pos", moved->pos);
	lsc_pack_uint(pack, "bytes", moved->bytes);
	return lsc_pack_end(pack);
}

static void put_fetch(struct lsc_pack *pack, const struct lsc_fetch_frame *fetch)
{
	put_name(pack, &fetch->image, &fetch->client, fetch->request);
	lsc_pack_uint(pack, "layer", fetch->layer);
	lsc_pack_uint(pack, "pos", fetch->pos);
	lsc_pack_uint(pack, "n", fetch->n);
	lsc_pack_str(pack, "form", FORM);
}

int lsc_frame_pack_fetch(struct lsc_pack *pack, const struct lsc_fetch_frame *fetch)
{
	lsc_pack_begin(pack, "fetch");
	put_fetch(pack, fetch);
	return lsc_pack_end(pack);
}

int lsc_frame_pack_pages(struct lsc_pack *pack, const struct lsc_pages_frame *pages,
			 uint32_t body_len)
{
	lsc_pack_begin(pack, "pages");
	put_fetch(pack, &pages->of);
	if (pages->code) {
		lsc_pack_uint(pack, "code", (uint64_t)pages->code);
		lsc_pack_strn(pack, "why", pages->why, strnlen(pages->why, sizeof(pages->why) - 1));
	} else {
		lsc_pack_uint(pack, "body", body_len);
	}
	return lsc_pack_end(pack);
}

/* --- parsing --- */

static int get_name(const struct lsc_record *record, struct lsc_hash *ret_image,
		    struct lsc_client_id *ret_client, uint64_t *ret_request, struct lsc_err *err)
{
	int r = lsc_frame_get_image(record, ret_image, err);

	if (r == 0)
		r = lsc_frame_get_client(record, ret_client, err);
	return r ? r : lsc_record_uint(record, "request", UINT64_MAX, ret_request, err);
}

/* A number that is not 0. */
static int get_count(const struct lsc_record *record, const char *key, uint32_t max,
		     uint32_t *ret_n, struct lsc_err *err)
{
	int r = lsc_frame_get_uint32(record, key, max, ret_n, err);

	if (r == 0 && *ret_n == 0)
		return lsc_err_set(err, EBADMSG, "record '%.*s': no positions",
				   (int)record->type_len, record->type);
	return r;
}

/* The ids of all positions, or none of them. */
static int check_ids(const struct lsc_record *record, const struct lsc_adopt_frame *adopt,
		     struct lsc_err *err)
{
	uint64_t len = 0;
	int r = lsc_record_uint_or(record, "body", LSC_BODY_MAX_BYTES, 0, &len, err);

	if (r == 0 && lsc_record_get(record, "body") && len != 4 * (uint64_t)adopt->n)
		return lsc_err_set(err, EBADMSG,
				   "record 'adopt': a body of %llu bytes for %u positions",
				   (unsigned long long)len, adopt->n);
	return r;
}

int lsc_frame_parse_adopt(const struct lsc_record *record, struct lsc_adopt_frame *ret_adopt,
			  struct lsc_err *err)
{
	uint64_t reach = 0;
	int r = get_name(record, &ret_adopt->image, &ret_adopt->client, &ret_adopt->request, err);

	if (r == 0)
		r = lsc_record_uint(record, "from", UINT64_MAX, &ret_adopt->from, err);
	if (r == 0)
		r = get_count(record, "n", LSC_FRAME_MAX_POSITION, &ret_adopt->n, err);
	if (r == 0)
		r = lsc_frame_get_route(record, ret_adopt->route, &ret_adopt->n_stages, err);
	if (r == 0 && ret_adopt->n_stages == 0)
		r = lsc_err_set(err, EBADMSG, "record 'adopt': a route of no stages");
	if (r == 0)
		r = lsc_record_uint_or(record, "since", UINT64_MAX, 0, &ret_adopt->since, err);
	if (r == 0)
		r = lsc_record_uint_or(record, "reach", LSC_FRAME_MAX_POSITION, 0, &reach, err);
	ret_adopt->reach = (uint32_t)reach;
	return r ? r : check_ids(record, ret_adopt, err);
}

int lsc_frame_parse_moved(const struct lsc_record *record, struct lsc_moved_frame *ret_moved,
			  struct lsc_err *err)
{
	int r = lsc_record_uint(record, "request", UINT64_MAX, &ret_moved->request, err);

	if (r == 0)
		r = lsc_frame_get_uint32(record, "pos", LSC_FRAME_MAX_POSITION, &ret_moved->pos,
					 err);
	return r ? r : lsc_record_uint(record, "bytes", UINT64_MAX, &ret_moved->bytes, err);
}

int lsc_frame_parse_fetch(const struct lsc_record *record, struct lsc_fetch_frame *ret_fetch,
			  struct lsc_err *err)
{
	const char *form;
	uint32_t len;
	int r = get_name(record, &ret_fetch->image, &ret_fetch->client, &ret_fetch->request, err);

	if (r == 0)
		r = lsc_frame_get_uint32(record, "layer", MAX_LAYER, &ret_fetch->layer, err);
	if (r == 0)
		r = lsc_frame_get_uint32(record, "pos",
					 LSC_FRAME_MAX_POSITION - LSC_FRAME_MAX_TOKENS,
					 &ret_fetch->pos, err);
	if (r == 0)
		r = get_count(record, "n", LSC_FRAME_MAX_TOKENS, &ret_fetch->n, err);
	if (r == 0)
		r = lsc_record_str(record, "form", 16, &form, &len, err);
	if (r == 0 && (len != strlen(FORM) || memcmp(form, FORM, len)))
		return lsc_err_set(err, EBADMSG, "record '%.*s': rows of another form than " FORM,
				   (int)record->type_len, record->type);
	return r;
}

int lsc_frame_parse_pages(const struct lsc_record *record, struct lsc_pages_frame *ret_pages,
			  struct lsc_err *err)
{
	const bool failed = lsc_record_get(record, "code") != NULL;
	uint64_t body = 0;
	uint32_t code = 0;
	int r = lsc_frame_parse_fetch(record, &ret_pages->of, err);

	ret_pages->why[0] = 0;
	if (r == 0 && failed)
		r = lsc_frame_get_uint32(record, "code", 4095, &code, err);
	if (r == 0 && failed)
		r = lsc_frame_get_why(record, ret_pages->why, sizeof(ret_pages->why), err);
	if (r == 0 && failed)
		code = code ? code : EIO;
	ret_pages->code = (int)code;
	if (r == 0 && failed && lsc_record_get(record, "body"))
		return lsc_err_set(err, EBADMSG, "record 'pages': a failure with a body");
	if (r == 0 && !failed)
		r = lsc_record_uint(record, "body", LSC_KV_MAX_BYTES, &body, err);
	if (r == 0 && !failed && (body == 0 || body % (4 * (uint64_t)ret_pages->of.n)))
		return lsc_err_set(err, EBADMSG,
				   "record 'pages': a body of %llu bytes for %u positions",
				   (unsigned long long)body, ret_pages->of.n);
	return r;
}

bool lsc_fetch_is_same(const struct lsc_fetch_frame *a, const struct lsc_fetch_frame *b)
{
	return a->request == b->request && a->layer == b->layer && a->pos == b->pos &&
	       a->n == b->n && !memcmp(&a->client, &b->client, sizeof(a->client)) &&
	       !memcmp(&a->image, &b->image, sizeof(a->image));
}
