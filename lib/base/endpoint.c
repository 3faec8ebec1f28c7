/* endpoint - the one spelling of places */
#include "base/endpoint.h"

#include <stdio.h>
#include <string.h>

#include "base/parse.h"

static int parse_host_port(struct lsc_endpoint *ep, const char *text, struct lsc_err *err)
{
	const char *colon = strrchr(text, ':');
	const char *host = text;
	size_t len;
	uint64_t port;

	if (!colon || colon == text)
		return lsc_err_set(err, EINVAL, "'%s' is not HOST:PORT", text);
	len = colon - text;
	if (text[0] == '[') {
		if (text[len - 1] != ']')
			return lsc_err_set(err, EINVAL, "'%s' has a '[' without its ']'", text);
		host++;
		len -= 2;
	} else if (memchr(text, ':', len)) {
		return lsc_err_set(err, EINVAL, "'%s': write an IPv6 address in brackets", text);
	}
	if (len == 0 || len >= sizeof(ep->name))
		return lsc_err_set(err, EINVAL, "'%s' is not HOST:PORT", text);
	if (lsc_parse_uint(colon + 1, 0, 65535, &port, NULL) < 0)
		return lsc_err_set(err, EINVAL, "'%s' has no port from 0 to 65535", text);
	ep->kind = LSC_ENDPOINT_TCP;
	ep->port = port;
	memcpy(ep->name, host, len);
	ep->name[len] = 0;
	return 0;
}

static int set_name(struct lsc_endpoint *ep, enum lsc_endpoint_kind kind, const char *name,
		    struct lsc_err *err)
{
	if (!*name || strlen(name) >= sizeof(ep->name))
		return lsc_err_set(err, EINVAL, "'%s' is not a usable path", name);
	ep->kind = kind;
	strcpy(ep->name, name);
	return 0;
}

int lsc_endpoint_parse(struct lsc_endpoint *ep, const char *text, struct lsc_err *err)
{
	uint64_t fd;

	memset(ep, 0, sizeof(*ep));
	if (!strcmp(text, "-")) {
		ep->kind = LSC_ENDPOINT_STDIO;
		return 0;
	}
	if (!strcmp(text, "null:")) {
		ep->kind = LSC_ENDPOINT_NULL;
		return 0;
	}
	if (!strncmp(text, "fd:", 3)) {
		if (lsc_parse_uint(text + 3, 0, 1 << 20, &fd, NULL) < 0)
			return lsc_err_set(err, EINVAL, "'%s' is not fd:N", text);
		ep->kind = LSC_ENDPOINT_FD;
		ep->fd = fd;
		return 0;
	}
	if (!strncmp(text, "unix:", 5))
		return set_name(ep, LSC_ENDPOINT_UNIX, text + 5, err);
	if (!strncmp(text, "memory:", 7))
		return set_name(ep, LSC_ENDPOINT_MEMORY, text + 7, err);
	if (!strncmp(text, "tcp://", 6))
		return parse_host_port(ep, text + 6, err);
	if (!strncmp(text, "rdma://", 7)) {
		int r = parse_host_port(ep, text + 7, err);

		ep->kind = LSC_ENDPOINT_RDMA;
		return r;
	}
	if (strchr(text, '/') || !strchr(text, ':'))
		return set_name(ep, LSC_ENDPOINT_PATH, text, err);
	return parse_host_port(ep, text, err);
}

const char *lsc_endpoint_text(const struct lsc_endpoint *ep, char text[LSC_ENDPOINT_TEXT + 16])
{
	size_t size = LSC_ENDPOINT_TEXT + 16;

	switch (ep->kind) {
	case LSC_ENDPOINT_STDIO:
		snprintf(text, size, "-");
		break;
	case LSC_ENDPOINT_FD:
		snprintf(text, size, "fd:%d", ep->fd);
		break;
	case LSC_ENDPOINT_UNIX:
		snprintf(text, size, "unix:%s", ep->name);
		break;
	case LSC_ENDPOINT_MEMORY:
		snprintf(text, size, "memory:%s", ep->name);
		break;
	case LSC_ENDPOINT_TCP:
		snprintf(text, size, strchr(ep->name, ':') ? "tcp://[%s]:%u" : "tcp://%s:%u",
			 ep->name, ep->port);
		break;
	case LSC_ENDPOINT_RDMA:
		snprintf(text, size, strchr(ep->name, ':') ? "rdma://[%s]:%u" : "rdma://%s:%u",
			 ep->name, ep->port);
		break;
	case LSC_ENDPOINT_NULL:
		snprintf(text, size, "null:");
		break;
	case LSC_ENDPOINT_PATH:
		snprintf(text, size, "%s", ep->name);
		break;
	}
	return text;
}
