/* cluster - how a router and its nodes stand */
#include "gate/cluster.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "gate/escape.h"
#include "gate/within.h"
#include "stream/json.h"

void lsc_cluster_release(struct lsc_cluster *cluster)
{
	free(cluster->nodes);
	*cluster = (struct lsc_cluster)LSC_CLUSTER_INIT;
}

/* For people, labels and pages: nothing but printable ASCII gets through. */
static void copy_name(char *to, size_t size, const char *from, size_t len)
{
	len = LSC_MIN(len, size - 1);
	for (size_t i = 0; i < len; i++)
		to[i] = from[i] > ' ' && from[i] < 127 ? from[i] : '?';
	to[len] = 0;
}

static int get_name(const struct lsc_record *record, const char *key, char *to, size_t size,
		    struct lsc_err *err)
{
	const char *text;
	uint32_t len;
	int r = lsc_record_str(record, key, 4096, &text, &len, err);

	if (r == 0)
		copy_name(to, size, text, len);
	return r;
}

static int get_uints(const struct lsc_record *record, const char *const *keys,
		     uint64_t *const *numbers, size_t n, struct lsc_err *err)
{
	for (size_t i = 0; i < n; i++)
		LSC_TRY(lsc_record_uint(record, keys[i], INT64_MAX, numbers[i], err));
	return 0;
}

int lsc_cluster_model(struct lsc_cluster *cluster, const struct lsc_record *record,
		      struct lsc_err *err)
{
	static const char *const keys[] = {"context", "vocab", "units", "blocks", "bytes"};
	uint64_t *const numbers[] = {&cluster->context, &cluster->vocab, &cluster->units,
				     &cluster->blocks, &cluster->bytes};
	const void *image;
	uint32_t len;

	cluster->known = false;
	LSC_TRY(get_name(record, "name", cluster->name, sizeof(cluster->name), err));
	LSC_TRY(get_name(record, "chat", cluster->chat, sizeof(cluster->chat), err));
	LSC_TRY(lsc_record_bin(record, "image", sizeof(cluster->image), &image, &len, err));
	if (len != sizeof(cluster->image))
		return lsc_err_set(err, EBADMSG, "record 'model': 'image' has %u bytes", len);
	memcpy(&cluster->image, image, len);
	LSC_TRY(get_uints(record, keys, numbers, LSC_ARRAY_SIZE(keys), err));
	cluster->known = true;
	return 0;
}

/* --- nodes and stages: maps within a record --- */

static bool take_node(struct lsc_cluster_node *node, const msgpack_object *map)
{
	const msgpack_object *name = lsc_within(map, "name");

	if (!name || name->type != MSGPACK_OBJECT_STR)
		return false;
	copy_name(node->name, sizeof(node->name), name->via.str.ptr, name->via.str.size);
	return lsc_within_uint(map, "node", &node->node) &&
	       lsc_within_uint(map, "blocks", &node->blocks) &&
	       lsc_within_uint(map, "busy", &node->busy) &&
	       lsc_within_bool(map, "source", &node->source) &&
	       lsc_within_bool(map, "complete", &node->complete) &&
	       lsc_within_bool(map, "failed", &node->failed) &&
	       lsc_within_bool(map, "up", &node->up);
}

static int take_nodes(struct lsc_cluster *cluster, const struct lsc_record *record,
		      struct lsc_err *err)
{
	const msgpack_object *items;
	uint32_t n;

	LSC_TRY(lsc_record_array(record, "nodes", LSC_CLUSTER_MAX_NODES, &items, &n, err));
	if (n > cluster->cap_nodes) {
		void *nodes = realloc(cluster->nodes, n * sizeof(*cluster->nodes));

		if (!nodes)
			return lsc_err_set(err, ENOMEM, "no memory for %u nodes", n);
		cluster->nodes = nodes;
		cluster->cap_nodes = n;
	}
	for (uint32_t i = 0; i < n; i++)
		if (!take_node(&cluster->nodes[i], &items[i]))
			return lsc_err_set(err, EBADMSG, "record 'status': bad node");
	cluster->n_nodes = n;
	return 0;
}

static int take_stages(struct lsc_cluster *cluster, const struct lsc_record *record,
		       struct lsc_err *err)
{
	const msgpack_object *items;
	uint32_t n;

	LSC_TRY(lsc_record_array(record, "stages", LSC_CLUSTER_MAX_STAGES, &items, &n, err));
	for (uint32_t i = 0; i < n; i++) {
		struct lsc_cluster_stage *stage = &cluster->stages[i];

		if (!lsc_within_uint(&items[i], "node", &stage->node) ||
		    !lsc_within_uint(&items[i], "first", &stage->first) ||
		    !lsc_within_uint(&items[i], "last", &stage->last))
			return lsc_err_set(err, EBADMSG, "record 'status': bad stage");
	}
	cluster->n_stages = n;
	return 0;
}

static int take_bool(const struct lsc_record *record, const char *key, bool *ret,
		     struct lsc_err *err)
{
	if (!lsc_record_get(record, key))
		return lsc_err_set(err, EBADMSG, "record 'status': no '%s'", key);
	return lsc_record_bool_or(record, key, false, ret, err);
}

static int take_status(struct lsc_cluster *cluster, const struct lsc_record *record,
		       struct lsc_err *err)
{
	static const char *const keys[] = {"queue",    "waiting", "running",   "positions",
					   "requests", "failed",  "cancelled", "prompt_tokens",
					   "tokens",   "routes",  "switches"};
	struct lsc_cluster_counts *c = &cluster->counts;
	uint64_t *const numbers[] = {&c->queue,    &c->waiting, &c->running,   &c->positions,
				     &c->requests, &c->failed,  &c->cancelled, &c->prompt_tokens,
				     &c->tokens,   &c->routes,  &c->switches};

	LSC_TRY(lsc_record_real(record, "t", &cluster->t, err));
	LSC_TRY(take_bool(record, "ready", &cluster->ready, err));
	LSC_TRY(take_bool(record, "ended", &cluster->ended, err));
	LSC_TRY(get_uints(record, keys, numbers, LSC_ARRAY_SIZE(keys), err));
	LSC_TRY(lsc_record_uint_or(record, "cached_tokens", UINT64_MAX, 0, &c->cached_tokens, err));
	LSC_TRY(take_stages(cluster, record, err));
	return take_nodes(cluster, record, err);
}

int lsc_cluster_status(struct lsc_cluster *cluster, const struct lsc_record *record,
		       struct lsc_err *err)
{
	int r = take_status(cluster, record, err);

	cluster->told = r == 0;
	if (r < 0) {
		cluster->ready = false;
		cluster->n_nodes = cluster->n_stages = 0;
	}
	return r;
}

/* --- as JSON --- */

static int write_model(const struct lsc_cluster *cluster, struct lsc_buf *buf)
{
	if (!cluster->known)
		return lsc_buf_add_str(buf, "null");
	LSC_TRY(lsc_buf_add_str(buf, "{\"name\":"));
	LSC_TRY(lsc_escape_quote(buf, cluster->name, strlen(cluster->name)));
	LSC_TRY(lsc_buf_add_str(buf, ",\"chat\":"));
	LSC_TRY(lsc_escape_quote(buf, cluster->chat, strlen(cluster->chat)));
	return lsc_buf_printf(buf,
			      ",\"context\":%" PRIu64 ",\"vocab\":%" PRIu64 ",\"units\":%" PRIu64
			      ",\"blocks\":%" PRIu64 ",\"bytes\":%" PRIu64 "}",
			      cluster->context, cluster->vocab, cluster->units, cluster->blocks,
			      cluster->bytes);
}

static const char *word(bool is)
{
	return is ? "true" : "false";
}

static int write_node(const struct lsc_cluster_node *node, struct lsc_buf *buf)
{
	LSC_TRY(lsc_buf_printf(buf, "{\"node\":%" PRIu64 ",\"name\":", node->node));
	LSC_TRY(lsc_escape_quote(buf, node->name, strlen(node->name)));
	return lsc_buf_printf(buf,
			      ",\"source\":%s,\"blocks\":%" PRIu64
			      ",\"complete\":%s,\"failed\":%s,\"up\":%s,\"busy\":%" PRIu64 "}",
			      word(node->source), node->blocks, word(node->complete),
			      word(node->failed), word(node->up), node->busy);
}

static int write_counts(const struct lsc_cluster_counts *c, struct lsc_buf *buf)
{
	return lsc_buf_printf(
		buf,
		"\"queue\":%" PRIu64 ",\"waiting\":%" PRIu64 ",\"running\":%" PRIu64
		",\"positions\":%" PRIu64 ",\"requests\":%" PRIu64 ",\"failed\":%" PRIu64
		",\"cancelled\":%" PRIu64 ",\"prompt_tokens\":%" PRIu64 ",\"tokens\":%" PRIu64
		",\"routes\":%" PRIu64 ",\"switches\":%" PRIu64 ",\"cached_tokens\":%" PRIu64,
		c->queue, c->waiting, c->running, c->positions, c->requests, c->failed,
		c->cancelled, c->prompt_tokens, c->tokens, c->routes, c->switches,
		c->cached_tokens);
}

int lsc_cluster_write(const struct lsc_cluster *cluster, struct lsc_buf *buf)
{
	LSC_TRY(lsc_buf_add_str(buf, "{\"model\":"));
	LSC_TRY(write_model(cluster, buf));
	if (!cluster->told)
		return lsc_buf_add_str(buf, ",\"ready\":false,\"nodes\":[],\"stages\":[]}");
	LSC_TRY(lsc_buf_printf(buf, ",\"t\":%.6f,\"ready\":%s,\"ended\":%s,", cluster->t,
			       word(cluster->ready), word(cluster->ended)));
	LSC_TRY(write_counts(&cluster->counts, buf));
	LSC_TRY(lsc_buf_add_str(buf, ",\"stages\":["));
	for (uint32_t i = 0; i < cluster->n_stages; i++) {
		const struct lsc_cluster_stage *stage = &cluster->stages[i];

		LSC_TRY(lsc_buf_printf(
			buf, "%s{\"node\":%" PRIu64 ",\"first\":%" PRIu64 ",\"last\":%" PRIu64 "}",
			i ? "," : "", stage->node, stage->first, stage->last));
	}
	LSC_TRY(lsc_buf_add_str(buf, "],\"nodes\":["));
	for (uint32_t i = 0; i < cluster->n_nodes; i++) {
		LSC_TRY(i ? lsc_buf_add(buf, ",", 1) : 0);
		LSC_TRY(write_node(&cluster->nodes[i], buf));
	}
	return lsc_buf_add_str(buf, "]}");
}

/* --- and back --- */

static int read_model(struct lsc_cluster *cluster, const struct lsc_record *record,
		      struct lsc_err *err)
{
	const msgpack_object *model = lsc_record_get(record, "model"), *name, *chat;

	cluster->known = false;
	if (!model || model->type == MSGPACK_OBJECT_NIL)
		return 0;
	name = lsc_within(model, "name");
	chat = lsc_within(model, "chat");
	if (!name || name->type != MSGPACK_OBJECT_STR || !chat ||
	    chat->type != MSGPACK_OBJECT_STR ||
	    !lsc_within_uint(model, "context", &cluster->context) ||
	    !lsc_within_uint(model, "vocab", &cluster->vocab) ||
	    !lsc_within_uint(model, "units", &cluster->units) ||
	    !lsc_within_uint(model, "blocks", &cluster->blocks) ||
	    !lsc_within_uint(model, "bytes", &cluster->bytes))
		return lsc_err_set(err, EBADMSG, "bad 'model'");
	copy_name(cluster->name, sizeof(cluster->name), name->via.str.ptr, name->via.str.size);
	copy_name(cluster->chat, sizeof(cluster->chat), chat->via.str.ptr, chat->via.str.size);
	cluster->known = true;
	return 0;
}

/* The object is the record 'status' without its type, and has the model beside. */
int lsc_cluster_read(struct lsc_cluster *cluster, const char *json, size_t len, struct lsc_err *err)
{
	static const char type[] = "{\"type\":\"status\",";
	LSC_CLEANUP(lsc_record_release) struct lsc_record record = LSC_RECORD_INIT;
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf text = LSC_BUF_INIT, bytes = LSC_BUF_INIT;
	ssize_t n;

	if (len < 2 || json[0] != '{')
		return lsc_err_set(err, EBADMSG, "no object");
	if (lsc_buf_add_str(&text, type) < 0 || lsc_buf_add(&text, json + 1, len - 1) < 0)
		return lsc_err_set(err, ENOMEM, "no memory");
	LSC_TRY(lsc_json_read((const char *)text.data, text.len, &bytes, err));
	n = lsc_record_parse(&record, bytes.data, bytes.len, err);
	if (n <= 0)
		return n < 0 ? (int)n : lsc_err_set(err, EBADMSG, "no record");
	LSC_TRY(read_model(cluster, &record, err));
	if (lsc_record_get(&record, "t"))
		return lsc_cluster_status(cluster, &record, err);
	cluster->told = cluster->ready = false;
	cluster->n_nodes = cluster->n_stages = 0;
	return 0;
}
