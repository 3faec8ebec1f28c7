/* transport - the names of what data goes over */
#include "net/transport.h"

#include <string.h>

#include "base/macros.h"
#include "net/link_ops.h"

static const char *const names[] = {"auto", "tcp", "rdma"};

int lsc_transport_parse(const char *text, enum lsc_transport *ret, struct lsc_err *err)
{
	for (unsigned i = 0; i < LSC_ARRAY_SIZE(names); i++) {
		if (strcmp(text, names[i]) != 0)
			continue;
		*ret = i;
		return 0;
	}
	return lsc_err_set(err, EINVAL, "there is no transport '%.32s': auto, tcp or rdma", text);
}

int lsc_transport_find_rdma(struct lsc_err *err)
{
	const struct lsc_link_ops *ops = lsc_link_ops_of(LSC_ENDPOINT_RDMA);

	if (!ops)
		return lsc_err_set(err, ENODEV, "rdma: not built in (WITH_RDMA=yes)");
	return ops->find_device(err);
}
