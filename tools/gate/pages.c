/* pages - what can be asked for, who may, and the answers that are made on the spot */
#include "gate.h"

#ifdef LSC_HAVE_MICROHTTPD

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "base/base64.h"
#include "base/cleanup.h"
#include "base/macros.h"
#include "gate/escape.h"
#include "home.h"
#include "http.h"

/* --- answers --- */

static unsigned make_health(struct gate *gate, struct lsc_buf *buf)
{
	const char *status = gate->draining             ? "shutting down"
			     : !gate_router_is_up(gate) ? "no router"
			     : !gate->cluster.ready     ? "no route yet"
							: "ok";

	lsc_buf_printf(buf, "{\"status\":\"%s\"}\n", status);
	return strcmp(status, "ok") ? 503 : 200;
}

static unsigned make_metrics(struct gate *gate, struct lsc_buf *buf)
{
	return lsc_meter_write(&gate->meter, &gate->cluster, buf) < 0 ? 500 : 200;
}

static unsigned make_cluster(struct gate *gate, struct lsc_buf *buf)
{
	return lsc_cluster_write(&gate->cluster, buf) < 0 || lsc_buf_add(buf, "\n", 1) < 0 ? 500
											   : 200;
}

static void put_model(struct gate *gate, struct lsc_buf *buf)
{
	const char *name = gate_model(gate);

	lsc_buf_add_str(buf, "{\"id\":");
	lsc_escape_quote(buf, name, strlen(name));
	lsc_buf_printf(buf,
		       ",\"object\":\"model\",\"created\":%llu,\"owned_by\":\"lsc\","
		       "\"max_model_len\":%llu}",
		       (unsigned long long)gate->started_s,
		       (unsigned long long)gate->cluster.context);
}

static unsigned make_models(struct gate *gate, struct lsc_buf *buf)
{
	lsc_buf_add_str(buf, "{\"object\":\"list\",\"data\":[");
	if (gate->cluster.known)
		put_model(gate, buf);
	lsc_buf_add_str(buf, "]}\n");
	return 200;
}

static unsigned make_model(struct gate *gate, struct lsc_buf *buf)
{
	put_model(gate, buf);
	lsc_buf_add_str(buf, "\n");
	return 200;
}

int gate_page_home(struct lsc_buf *buf, char *ret_policy, size_t size)
{
	static const char mark[] = "@NONCE@";
	const char *at = gate_home, *found;
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf nonce = LSC_BUF_INIT;
	uint8_t bytes[15];
	int r = 0;

	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		return -EIO;
	r = lsc_base64_encode(bytes, sizeof(bytes), &nonce);
	while (r == 0 && (found = strstr(at, mark))) {
		r = lsc_buf_add(buf, at, (size_t)(found - at));
		if (r == 0)
			r = lsc_buf_add(buf, nonce.data, nonce.len);
		at = found + sizeof(mark) - 1;
	}
	if (r == 0)
		r = lsc_buf_add_str(buf, at);
	if (r == 0)
		snprintf(ret_policy, size,
			 "default-src 'none'; script-src 'nonce-%s'; style-src 'nonce-%s'; "
			 "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
			 "frame-ancestors 'none'",
			 (char *)nonce.data, (char *)nonce.data);
	return r;
}

/* --- which --- */

#define JSON  "application/json"
#define PLAIN "text/plain; version=0.0.4; charset=utf-8"
#define HTML  "text/html; charset=utf-8"

static const struct gate_page pages[] = {
	{"/", false, false, false, NULL, HTML},
	{"/health", false, false, false, make_health, JSON},
	{"/metrics", false, false, true, make_metrics, PLAIN},
	{"/cluster", false, false, true, make_cluster, JSON},
	{"/v1/models", false, false, true, make_models, JSON},
	{"/v1/completions", true, false, true, NULL, JSON},
	{"/v1/chat/completions", true, true, true, NULL, JSON},
};

static const struct gate_page model_page = {"/v1/models/", false, false, true, make_model, JSON};

static const struct gate_page *find_model(const struct gate *gate, const char *name,
					  struct lsc_fault *fault)
{
	if (gate->cluster.known && !strcmp(name, gate_model(gate)))
		return &model_page;
	lsc_fault_set(fault, 404, "model", "model_not_found", "the model '%.200s' does not exist",
		      name);
	return NULL;
}

const struct gate_page *gate_page_find(const struct gate *gate, const char *method,
				       const char *path, struct lsc_fault *fault)
{
	size_t prefix = strlen(model_page.path);

	for (size_t i = 0; i < LSC_ARRAY_SIZE(pages); i++) {
		const char *want = pages[i].is_post ? "POST" : "GET";

		if (strcmp(pages[i].path, path))
			continue;
		if (!strcmp(method, want))
			return &pages[i];
		lsc_fault_set(fault, 405, NULL, "method_not_allowed", "%s wants %s", path, want);
		fault->allow = want;
		return NULL;
	}
	if (!strncmp(path, model_page.path, prefix) && !strcmp(method, "GET"))
		return find_model(gate, path + prefix, fault);
	lsc_fault_set(fault, 404, NULL, "not_found", "there is no %s %.200s here", method, path);
	return NULL;
}

/* --- who --- */

static const char *header_of(const struct call *call, const char *name)
{
	return MHD_lookup_connection_value(call->mhd, MHD_HEADER_KIND, name);
}

/* A name in Host that is not this machine's own is one that somebody made to point here, so that a
 * browser takes us for that site.  Addresses cannot be made to. */
static bool is_own_name(const char *host)
{
	size_t len = strcspn(host, ":");
	struct in_addr four;
	char name[256];

	if (host[0] == '[')
		return true;
	if (len >= sizeof(name))
		return false;
	memcpy(name, host, len);
	name[len] = 0;
	return !strcasecmp(name, "localhost") || inet_pton(AF_INET, name, &four) == 1 ||
	       (len > 10 && !strcasecmp(name + len - 10, ".localhost"));
}

static bool is_json(const char *type)
{
	return type && !strncasecmp(type, JSON, strlen(JSON)) &&
	       !isalnum((unsigned char)type[strlen(JSON)]);
}

int gate_page_admit(const struct call *call, const struct gate_page *page, bool has_body,
		    struct lsc_fault *fault)
{
	const struct gate *gate = call->gate;
	const char *host = header_of(call, "Host");

	if (page->needs_key && !gate_keys_admit(&gate->keys, header_of(call, "Authorization")))
		return lsc_fault_set(fault, 401, NULL, "invalid_api_key",
				     "incorrect API key provided");
	if (!gate->keys.n && !gate->opt->insecure && host && !is_own_name(host))
		return lsc_fault_set(fault, 403, NULL, "wrong_host",
				     "'%.100s' is no name of this machine; --api-key-file or "
				     "--insecure lets others in",
				     host);
	if (page->is_post && has_body && !is_json(header_of(call, "Content-Type")))
		return lsc_fault_set(fault, 415, NULL, "unsupported_media_type",
				     "the body's Content-Type is not application/json");
	return 0;
}

#endif
