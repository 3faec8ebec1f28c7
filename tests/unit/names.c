/* names: lists of nodes as people write them */
#include "tap.h"

#include "cast/names.h"

static void expect(const char *list, const char *want)
{
	struct lsc_names names = {0};
	struct lsc_err err = LSC_ERR_INIT;
	char got[1024] = "";

	if (lsc_names_add(&names, list, &err) < 0)
		snprintf(got, sizeof(got), "! %s", err.text);
	else
		for (uint32_t i = 0; i < names.n; i++)
			sprintf(got + strlen(got), "%s%s", i ? " " : "", names.names[i]);
	is_str(got, want, "%.60s", list);
	lsc_names_release(&names);
}

int main(void)
{
	struct lsc_names names = {0};
	struct lsc_err err = LSC_ERR_INIT;

	expect("a:1", "a:1");
	expect("a:1,b:2", "a:1 b:2");
	expect("node[01-03]:7000", "node01:7000 node02:7000 node03:7000");
	expect("n[8-11,20]:1,x:2", "n8:1 n9:1 n10:1 n11:1 n20:1 x:2");
	expect("r[1-2]n[1-2]:9", "r1n1:9 r1n2:9 r2n1:9 r2n2:9");
	expect("h:[7000-7002]", "h:7000 h:7001 h:7002");
	expect("[::1]:7000,[10]:1", "[::1]:7000 [10]:1");
	expect("unix:/tmp/x[1-2]", "unix:/tmp/x1 unix:/tmp/x2");
	expect("", "! a list of nodes holds an empty name");
	expect("a:1,,b:1", "! a list of nodes holds an empty name");
	expect("a:1,", "! a list of nodes holds an empty name");
	expect("n[3-1]:1", "! '3-1' is no range of numbers");
	expect("n[1-]:1", "! '1-' is no range of numbers");
	expect("n[1,,2]:1", "! '' is no range of numbers");
	expect("n[1-2-3]:1", "! '1-2-3' is no range of numbers");
	expect("n[1-9999999]:1", "! '1-9999999' is no range of numbers");
	expect("n[1-999999]:1", "! '1-999999' is no range of numbers");
	is_int(lsc_names_add(&names, "n[1-999]m[1-999]", &err), -EINVAL, "too many: %s", err.text);
	lsc_names_release(&names);
	return done_testing();
}
