/* names: lists of nodes as people, files and Slurm write them */
#include "tap.h"

#include <limits.h>

#include "base/io.h"
#include "send/names.h"

static void join(const struct lsc_names *names, char got[4096])
{
	got[0] = 0;
	for (uint32_t i = 0; i < names->n && strlen(got) < 3500; i++)
		sprintf(got + strlen(got), "%s%s", i ? " " : "", names->names[i]);
}

static void expect(const char *list, const char *want)
{
	struct lsc_names names = {0};
	struct lsc_err err = LSC_ERR_INIT;
	char got[4096];

	if (lsc_names_add(&names, list, &err) < 0)
		snprintf(got, sizeof(got), "! %s", err.text);
	else
		join(&names, got);
	is_str(got, want, "%.60s", list);
	lsc_names_release(&names);
}

static void test_lists(void)
{
	expect("a:1", "a:1");
	expect("a:1,b:2", "a:1 b:2");
	expect("a, b c\n\td", "a b c d");
	expect("a # not b\nc", "a c");
	expect("unix:/tmp/x[1-2]", "unix:/tmp/x1 unix:/tmp/x2");
	expect("tcp://a:1,tcp://[::1]:2", "a:1 [::1]:2");
	expect("", "! a list of nodes holds an empty name");
	expect("a:1,,b:1", "! a list of nodes holds an empty name");
	expect("a:1,", "! a list of nodes holds an empty name");
	expect(",a", "! a list of nodes holds an empty name");
}

static void test_ranges(void)
{
	expect("node[01-03]:7000", "node01:7000 node02:7000 node03:7000");
	expect("n[8-11,20]:1,x:2", "n8:1 n9:1 n10:1 n11:1 n20:1 x:2");
	expect("r[1-2]n[1-2]:9", "r1n1:9 r1n2:9 r2n1:9 r2n2:9");
	expect("a[1-2]b[3-4].c", "a1b3.c a1b4.c a2b3.c a2b4.c");
	expect("h:[7000-7002]", "h:7000 h:7001 h:7002");
	expect("[1-2],[10]:1", "1 2 10:1");
	expect("10.0.0.[9-11]:7400", "10.0.0.9:7400 10.0.0.10:7400 10.0.0.11:7400");
	expect("n[1][2][3][4][5][6][7][8]", "n12345678");
	expect("n[3-1]:1", "! '3-1' is no range of numbers");
	expect("n[1-]:1", "! '1-' is no range of numbers");
	expect("n[]", "! '' is no range of numbers");
	expect("n[1,,2]:1", "! '' is no range of numbers");
	expect("n[1-2-3]:1", "! '1-2-3' is no range of numbers");
	expect("n[1x]:1", "! '1x' is no range of numbers");
	expect("n[1-9999999999]:1", "! '1-9999999999' is no range of numbers");
	expect("n[1-2,a:1", "! 'n[1-2,a:1' has a '[' without its ']'");
	expect("n1]", "! 'n1]' has a ']' without its '['");
	expect("n[1-999999]:1", "! more than 65536 nodes");
	expect("n[1-999]m[1-999]", "! more than 65536 nodes");
	expect("n[1][2][3][4][5][6][7][8][9]",
	       "! 'n[1][2][3][4][5][6][7][8][9]...' has more than 8 brackets");
}

static void test_names(void)
{
	char name[LSC_NAMES_MAX_NAME + 2];

	expect("[::1]:7000,[fe80::1%eth0]", "[::1]:7000 [fe80::1%eth0]");
	expect("::1", "! '::1' is no node");
	expect("a::1", "! 'a::1': write an IPv6 address in brackets");
	expect("a:0", "! 'a:0' has no port from 1 to 65535");
	expect("a:65536", "! 'a:65536' has no port from 1 to 65535");
	expect("a:", "! 'a:' has no port from 1 to 65535");
	expect("-oProxyCommand=x", "! '-oProxyCommand=x' is no node");
	expect("a;b", "! 'a;b' is no node: it has a ';'");
	expect("$(x)", "! '$(x)' is no node");
	expect("unix", "! 'unix' is no node");
	expect("fd:3", "! 'fd:3' is no node");
	expect("a/b", "! 'a/b' is no node: it has a '/'");
	memset(name, 'a', sizeof(name) - 1);
	name[sizeof(name) - 2] = 0;
	expect(name, name);
	name[sizeof(name) - 2] = 'a';
	name[sizeof(name) - 1] = 0;
	expect(name, "! 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...' "
		     "is too long for a node");
}

static void test_files(void)
{
	char path[PATH_MAX], list[PATH_MAX + 16], want[PATH_MAX + 64];
	const char text[] = "# the second rack\nr2n[1-2]\n\n  a:1, b:2 # and these\nc";

	snprintf(path, sizeof(path), "%s/hosts", scratch());
	snprintf(list, sizeof(list), "x,@%s,y", path);
	lsc_file_write(path, text, sizeof(text) - 1, NULL);
	expect(list, "x r2n1 r2n2 a:1 b:2 c y");
	lsc_file_write(path, "# none\n", 7, NULL);
	snprintf(want, sizeof(want), "! '%s': no nodes are named there", path);
	expect(list, want);
	lsc_file_write(path, "a\0b", 3, NULL);
	snprintf(want, sizeof(want), "! '%s': is no text", path);
	expect(list, want);
	lsc_file_write(path, "@other", 6, NULL);
	snprintf(want, sizeof(want), "! '%s': '@other' is no node", path);
	expect(list, want);

	setenv("SLURM_JOB_NODELIST", "n[1-2],m", 1);
	expect("slurm:", "n1 n2 m");
	expect("slurm:,x", "n1 n2 m x");
	unsetenv("SLURM_JOB_NODELIST");
	expect("slurm:", "! 'slurm:': this is no Slurm job ($SLURM_JOB_NODELIST is not set)");
}

static void test_all(void)
{
	struct lsc_names names = {0}, without = {0}, more = {0};
	struct lsc_err err = LSC_ERR_INIT;
	char got[4096];

	lsc_names_add(&names, "n[1-4],n5:1,n5:2,[::1]:5,unix:/x", &err);
	lsc_names_add(&without, "n5:2,n[2-3],zz,[::1]", &err);
	lsc_names_exclude(&names, &without);
	join(&names, got);
	is_str(got, "n1 n4 n5:1 unix:/x", "nodes are excluded by host, or by host and port");
	is_int(lsc_names_set_port(&names, 7000, &err), 0, "a port for all");
	join(&names, got);
	is_str(got, "n1:7000 n4:7000 n5:1 unix:/x", "that have none");
	is_int(lsc_names_check_unique(&names, NULL, &err), 0, "no name is there twice");
	lsc_names_add(&more, "n9,n4:7000", &err);
	is_int(lsc_names_check_unique(&names, &more, &err), -EINVAL, "%s", err.text);
	lsc_names_add(&names, "x,x", &err);
	is_int(lsc_names_check_unique(&names, NULL, &err), -EINVAL, "%s", err.text);
	lsc_names_release(&names);
	lsc_names_release(&without);
	lsc_names_release(&more);
}

/* As Slurm itself spells them out. */
static void test_slurm(void)
{
	static const char *const lists[] = {
		"a[1-3,7]",   "b[01-02]c[1-2]", "n[9-11],n[08-11]", "n[1-03]",     "n[01-3]",
		"n[001-2,5]", "[1-3]",          "r[1-2]n[1-2]",     "a[1-2][3-4]", "a[0099-101],b",
		"x[0-0]",
	};
	char conf[PATH_MAX];
	static const char text[] = "ClusterName=t\nSlurmctldHost=localhost\nNodeName=x\n";

	if (system("command -v scontrol >/dev/null 2>&1") != 0) {
		skip("no scontrol here");
		return;
	}
	snprintf(conf, sizeof(conf), "%s/slurm.conf", scratch());
	lsc_file_write(conf, text, sizeof(text) - 1, NULL);
	setenv("SLURM_CONF", conf, 1);
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		char command[256], want[4096];
		FILE *slurm;
		size_t n;

		snprintf(command, sizeof(command), "scontrol show hostnames '%s'", lists[i]);
		slurm = popen(command, "r");
		n = fread(want, 1, sizeof(want) - 1, slurm);
		pclose(slurm);
		want[n ? n - 1 : 0] = 0;
		for (char *at = want; (at = strchr(at, '\n'));)
			*at = ' ';
		expect(lists[i], want);
	}
}

int main(void)
{
	test_lists();
	test_ranges();
	test_names();
	test_files();
	test_all();
	test_slurm();
	return done_testing();
}
