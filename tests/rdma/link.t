#!/bin/sh
# Links over RDMA, by the unit tests of links: records, bodies, closing, refusing, both ends.
. tests/lib/tap.sh
[ -n "${LSC_TEST_RDMA:-}" ] || skip_all 'no RDMA device (LSC_TEST_RDMA)' rdma
requires_feature rdma
exec "$LSC_BUILD/unit/link"
