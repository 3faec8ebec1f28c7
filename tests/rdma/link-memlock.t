#!/bin/sh
# The same links where there is hardly any memory to lock beyond their rings: bodies are copied, into
# messages and out of them.
. tests/lib/tap.sh
[ -n "${LSC_TEST_RDMA:-}" ] || skip_all 'no RDMA device (LSC_TEST_RDMA)' rdma
requires_feature rdma
requires_command setpriv
ulimit -l 1088 || skip_all 'the limit of locked memory cannot be set'
exec setpriv --bounding-set=-ipc_lock --inh-caps=-ipc_lock "$LSC_BUILD/unit/link"
