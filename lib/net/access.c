/* access - loopback by default, a key for anything else */
#include "net/access.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <arpa/inet.h>

#include "net/tls.h"

bool lsc_access_option(struct lsc_access *access, int key, const char *arg)
{
	if (key == LSC_KEY_KEY_FILE)
		access->key_file = arg;
	else if (key == LSC_KEY_INSECURE)
		access->insecure = true;
	else
		return false;
	return true;
}

int lsc_access_open(struct lsc_access *access, struct lsc_err *err)
{
	const char *path = access->key_file;
	int r;

	if (path && access->insecure)
		return lsc_err_set(err, EINVAL, "--key-file and --insecure exclude each other");
	if (!path && !access->insecure)
		path = getenv("LSC_KEY_FILE");
	if (!path || !*path)
		return 0;
	r = lsc_tls_check(err);
	if (r < 0)
		return lsc_err_prefix(err, "--key-file: ");
	if (path == access->key_file && !strcmp(path, "-"))
		r = lsc_key_read_line(&access->own, STDIN_FILENO, "standard input", err);
	else
		r = lsc_key_read(&access->own, path, err);
	if (r == 0)
		access->key = &access->own;
	return r;
}

int lsc_access_draw(struct lsc_access *access, struct lsc_err *err)
{
	int r = lsc_tls_check(err);

	if (r == 0)
		r = lsc_key_draw(&access->own, err);
	if (r == 0)
		access->key = &access->own;
	return r;
}

void lsc_access_close(struct lsc_access *access)
{
	lsc_key_erase(&access->own);
	access->key = NULL;
}

bool lsc_access_is_local(const struct lsc_endpoint *endpoint)
{
	struct in6_addr six;
	struct in_addr four;

	if (endpoint->kind != LSC_ENDPOINT_TCP && endpoint->kind != LSC_ENDPOINT_RDMA)
		return true;
	if (inet_pton(AF_INET, endpoint->name, &four) == 1)
		return ntohl(four.s_addr) >> 24 == 127;
	if (inet_pton(AF_INET6, endpoint->name, &six) == 1)
		return IN6_IS_ADDR_LOOPBACK(&six) ||
		       (IN6_IS_ADDR_V4MAPPED(&six) && six.s6_addr[12] == 127);
	return !strcasecmp(endpoint->name, "localhost");
}

int lsc_access_check(const struct lsc_access *access, const struct lsc_endpoint *endpoint,
		     struct lsc_err *err)
{
	char text[LSC_ENDPOINT_TEXT + 16];

	if (access->key || access->insecure || lsc_access_is_local(endpoint))
		return 0;
	lsc_endpoint_text(endpoint, text);
	return lsc_err_set(err, EINVAL,
			   "'%s' is not on this machine: give --key-file ('lsc-cast keygen FILE' "
			   "makes one), or --insecure",
			   strncmp(text, "tcp://", 6) ? text : text + 6);
}
