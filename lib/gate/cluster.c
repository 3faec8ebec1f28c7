/* cluster - how a router and its nodes stand */
#include "gate/cluster.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "gate/escape.h"

#define TRY(step)                                                                                  \
	do {                                                                                       \
		int try_r = (step);                                                                \
		if (try_r < 0)                                                                     \
			return try_r;                                                              \
	} while (0)

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
		TRY(lsc_record_uint(record, keys[i], INT64_MAX, numbers[i], err));
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
	TRY(get_name(record, "name", cluster->name, sizeof(cluster->name), err));
	TRY(get_name(record, "chat", cluster->chat, sizeof(cluster->chat), err));
	TRY(lsc_record_bin(record, "image", sizeof(cluster->image), &image, &len, err));
	if (len != sizeof(cluster->image))
		return lsc_err_set(err, EBADMSG, "record 'model': 'image' has %u bytes", len);
	memcpy(&cluster->image, image, len);
	TRY(get_uints(record, keys, numbers, LSC_ARRAY_SIZE(keys), err));
	cluster->known = true;
	return 0;
}

/* --- nodes and stages: maps within a record --- */

static const msgpack_object *find(const msgpack_object *map, const char *key)
{
	size_t len = strlen(key);

	for (uint32_t i = 0; map->type == MSGPACK_OBJECT_MAP && i < map->via.map.size; i++) {
		const msgpack_object_kv *pair = &map->via.map.ptr[i];

		if (pair->key.type == MSGPACK_OBJECT_STR && pair->key.via.str.size == len &&
		    !memcmp(pair->key.via.str.ptr, key, len))
			return &pair->val;
	}
	return NULL;
}

static bool find_uint(const msgpack_object *map, const char *key, uint64_t *ret)
{
	const msgpack_object *value = find(map, key);

	if (!value || value->type != MSGPACK_OBJECT_POSITIVE_INTEGER || value->via.u64 > INT64_MAX)
		return false;
	*ret = value->via.u64;
	return true;
}

static bool find_bool(const msgpack_object *map, const char *key, bool *ret)
{
	const msgpack_object *value = find(map, key);

	if (!value || value->type != MSGPACK_OBJECT_BOOLEAN)
		return false;
	*ret = value->via.boolean;
	return true;
}

static bool take_node(struct lsc_cluster_node *node, const msgpack_object *map)
{
	const msgpack_object *name = find(map, "name");

	if (!name || name->type != MSGPACK_OBJECT_STR)
		return false;
	copy_name(node->name, sizeof(node->name), name->via.str.ptr, name->via.str.size);
	return find_uint(map, "node", &node->node) && find_uint(map, "blocks", &node->blocks) &&
	       find_uint(map, "busy", &node->busy) && find_bool(map, "source", &node->source) &&
	       find_bool(map, "complete", &node->complete) &&
	       find_bool(map, "failed", &node->failed) && find_bool(map, "up", &node->up);
}

static int take_nodes(struct lsc_cluster *cluster, const struct lsc_record *record,
		      struct lsc_err *err)
{
	const msgpack_object *items;
	uint32_t n;

	TRY(lsc_record_array(record, "nodes", LSC_CLUSTER_MAX_NODES, &items, &n, err));
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

	TRY(lsc_record_array(record, "stages", LSC_CLUSTER_MAX_STAGES, &items, &n, err));
	for (uint32_t i = 0; i < n; i++) {
		struct lsc_cluster_stage *stage = &cluster->stages[i];

		if (!find_uint(&items[i], "node", &stage->node) ||
		    !find_uint(&items[i], "first", &stage->first) ||
		    !find_uint(&items[i], "last", &stage->last))
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

	TRY(lsc_record_real(record, "t", &cluster->t, err));
	TRY(take_bool(record, "ready", &cluster->ready, err));
	TRY(take_bool(record, "ended", &cluster->ended, err));
	TRY(get_uints(record, keys, numbers, LSC_ARRAY_SIZE(keys), err));
	TRY(take_stages(cluster, record, err));
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
	TRY(lsc_buf_add_str(buf, "{\"name\":"));
	TRY(lsc_escape_quote(buf, cluster->name, strlen(cluster->name)));
	TRY(lsc_buf_add_str(buf, ",\"chat\":"));
	TRY(lsc_escape_quote(buf, cluster->chat, strlen(cluster->chat)));
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
	TRY(lsc_buf_printf(buf, "{\"node\":%" PRIu64 ",\"name\":", node->node));
	TRY(lsc_escape_quote(buf, node->name, strlen(node->name)));
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
		",\"routes\":%" PRIu64 ",\"switches\":%" PRIu64,
		c->queue, c->waiting, c->running, c->positions, c->requests, c->failed,
		c->cancelled, c->prompt_tokens, c->tokens, c->routes, c->switches);
}

int lsc_cluster_write(const struct lsc_cluster *cluster, struct lsc_buf *buf)
{
	TRY(lsc_buf_add_str(buf, "{\"model\":"));
	TRY(write_model(cluster, buf));
	if (!cluster->told)
		return lsc_buf_add_str(buf, ",\"ready\":false,\"nodes\":[],\"stages\":[]}");
	TRY(lsc_buf_printf(buf, ",\"t\":%.6f,\"ready\":%s,\"ended\":%s,", cluster->t,
			   word(cluster->ready), word(cluster->ended)));
	TRY(write_counts(&cluster->counts, buf));
	TRY(lsc_buf_add_str(buf, ",\"stages\":["));
	for (uint32_t i = 0; i < cluster->n_stages; i++) {
		const struct lsc_cluster_stage *stage = &cluster->stages[i];

		TRY(lsc_buf_printf(
			buf, "%s{\"node\":%" PRIu64 ",\"first\":%" PRIu64 ",\"last\":%" PRIu64 "}",
			i ? "," : "", stage->node, stage->first, stage->last));
	}
	TRY(lsc_buf_add_str(buf, "],\"nodes\":["));
	for (uint32_t i = 0; i < cluster->n_nodes; i++) {
		TRY(i ? lsc_buf_add(buf, ",", 1) : 0);
		TRY(write_node(&cluster->nodes[i], buf));
	}
	return lsc_buf_add_str(buf, "]}");
}
