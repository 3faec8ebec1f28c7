/* tree: what is a path and what is a tree, where files lie, what is made of it on disk */
#include "tap.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/tree.h"

static struct lsc_err err;

static int add(struct lsc_tree *tree, enum lsc_tree_kind kind, const char *path, uint64_t bytes)
{
	struct lsc_tree_entry *entry;
	int r = lsc_tree_add(tree, kind, path, strlen(path), &entry, &err);

	if (r < 0)
		return r;
	entry->bytes = bytes;
	if (kind == LSC_TREE_LINK)
		entry->target = strdup("target");
	return 0;
}

static void test_paths(void)
{
	static const char *const bad[] = {"/",    "/a",  "a/",   "a//b",   ".",     "..",   "./a",
					  "../a", "a/.", "a/..", "a/../b", "a/./b", "a/b/", "//"};
	static const char *const good[] = {"", "a", "a/b", "...", "a/..b", ".a/b.", "a b/\377"};
	struct lsc_tree tree = LSC_TREE_INIT;
	struct lsc_tree_entry *entry;
	char name[300];

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		is_int(add(&tree, LSC_TREE_FILE, bad[i], 0), -EBADMSG, "'%s' is none", bad[i]);
	for (unsigned i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		is_int(add(&tree, LSC_TREE_FILE, good[i], 0), 0, "'%s' is a path", good[i]);
	is_int(lsc_tree_add(&tree, LSC_TREE_FILE, "a\0b", 3, &entry, &err), -EBADMSG,
	       "a zero byte");
	memset(name, 'x', sizeof(name));
	is_int(lsc_tree_add(&tree, LSC_TREE_FILE, name, 255, &entry, &err), 0, "a long name");
	is_int(lsc_tree_add(&tree, LSC_TREE_FILE, name, 256, &entry, &err), -EBADMSG,
	       "a longer one");
	lsc_tree_release(&tree);
}

/* A tree written as "d:a f:a/b 5:c": d, f, l, or a size. */
static int check(const char *text)
{
	struct lsc_tree tree = {.large = 4096};
	char copy[256], *at = copy, *word;
	int r = 0;

	snprintf(copy, sizeof(copy), "%s", text);
	while (r == 0 && (word = strsep(&at, " "))) {
		enum lsc_tree_kind kind = *word == 'd'   ? LSC_TREE_DIR
					  : *word == 'l' ? LSC_TREE_LINK
							 : LSC_TREE_FILE;

		r = add(&tree, kind, strchr(word, ':') + 1, strtoull(word, NULL, 10));
	}
	if (r == 0)
		r = lsc_tree_check(&tree, &err);
	if (r == 0)
		r = lsc_tree_place(&tree, &err);
	lsc_tree_release(&tree);
	return r;
}

static void test_check(void)
{
	static const char *const good[] = {"f:",
					   "9999:",
					   "d:",
					   "d: d:a d:a-b d:a/b f:a/b/c",
					   "d: 1:a 4095:z 4096:b l:c",
					   "d: d:a l:a/b"};
	static const char *const bad[] = {
		"l:",
		"f:a",
		"f: f:a",
		"f: d:a",
		"f: l:a",
		"d: f:a/b",
		"d: d:a/b",
		"d: f:a f:a/b",
		"d: l:a f:a/b",
		"d: f:a l:a/b",
		"d: f:b f:a",
		"d: f:a f:a",
		"d: d:a f:a",
		"d: d:a l:a",
		"d: f:a l:a",
		"d: 5000:a f:b",
		"d: l:a f:b",
		"d: f:a d:b",
		"d: d:",
		"d: d:b d:a",
		"d: f:a 5000:a",
		"d:a f:a/b",
	};

	for (unsigned i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		is_int(check(good[i]), 0, "'%s' is a tree", good[i]);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		is_int(check(bad[i]), -EBADMSG, "'%s' is none", bad[i]);
}

static void test_place(void)
{
	struct lsc_tree tree = {.large = 5000};

	add(&tree, LSC_TREE_DIR, "", 0);
	add(&tree, LSC_TREE_FILE, "a", 10);
	add(&tree, LSC_TREE_FILE, "b", 4999);
	add(&tree, LSC_TREE_FILE, "c", 5000);
	add(&tree, LSC_TREE_FILE, "d", 8192);
	is_int(lsc_tree_place(&tree, &err), 0, "placed");
	ok(tree.entries[1].offset == 0 && tree.entries[2].offset == 10, "small ones are packed");
	ok(tree.entries[3].offset == 8192 && tree.entries[4].offset == 16384, "large ones are not");
	ok(tree.packed_bytes == 8192 && tree.bytes == 24576 && tree.n_large == 2, "in all");
	tree.entries[4].bytes = LSC_TREE_MAX_BYTES;
	is_int(lsc_tree_place(&tree, &err), -EFBIG, "too much");
	lsc_tree_release(&tree);
	tree = (struct lsc_tree){.large = 5000};
	add(&tree, LSC_TREE_FILE, "", 0);
	ok(lsc_tree_place(&tree, &err) == 0 && tree.bytes == 1, "nothing is a byte");
	lsc_tree_release(&tree);
}

/* --- on disk --- */

static char root[4096];

static const char *in(const char *name)
{
	static char path[4][8192];
	static unsigned next;
	char *p = path[next++ % 4];

	snprintf(p, sizeof(path[0]), "%s/%s", root, name);
	return p;
}

/* Somebody put a link where a directory or a file is to be made. */
static void test_planted(void)
{
	struct lsc_tree tree = {.large = 4096};
	struct lsc_tree_walk walk;
	char got[8] = "";
	int fd, r;

	mkdir(root, 0777);
	mkdir(in("outside"), 0777);
	fd = open(in("outside/file"), O_WRONLY | O_CREAT, 0666);
	ok(write(fd, "keep", 4) == 4, "a file outside");
	close(fd);
	mkdir(in("tree"), 0777);
	ok(symlink("../outside", in("tree/dir")) == 0 &&
		   symlink("../outside/file", in("tree/file")) == 0,
	   "links to it");
	add(&tree, LSC_TREE_DIR, "", 0);
	add(&tree, LSC_TREE_DIR, "dir", 0);
	add(&tree, LSC_TREE_FILE, "dir/file", 5000);
	is_int(lsc_tree_make_dirs(&tree, in("tree"), &err), -ENOTDIR, "a link is no directory: %s",
	       err.text);
	lsc_tree_walk_begin(&walk, &tree, in("tree"));
	is_int(lsc_tree_make_file(&tree.entries[2], &walk, in("tree"), &err), -ENOTDIR,
	       "and leads nowhere: %s", err.text);
	lsc_tree_walk_end(&walk);
	lsc_tree_release(&tree);

	tree = (struct lsc_tree){.large = 4096};
	add(&tree, LSC_TREE_DIR, "", 0);
	add(&tree, LSC_TREE_FILE, "file", 4);
	lsc_tree_place(&tree, &err);
	r = lsc_tree_finish(&tree, in("tree"), (const uint8_t *)"evil", &err);
	is_int(r, -ELOOP, "nor is a file written through one: %s", err.text);
	lsc_tree_release(&tree);
	fd = open(in("outside/file"), O_RDONLY);
	ok(read(fd, got, 7) == 4 && !strcmp(got, "keep"), "what is outside stays");
	close(fd);
}

static void test_remove(void)
{
	mkdir(in("tree/deep"), 0777);
	mkdir(in("tree/deep/er"), 0777);
	chmod(in("tree/deep"), 0555);
	is_int(lsc_tree_remove(in("tree"), &err), 0, "removed");
	ok(access(in("tree"), F_OK) < 0 && access(in("outside/file"), F_OK) == 0,
	   "with its links, not with what they lead to");
	is_int(lsc_tree_remove(in("tree"), &err), 0, "none at all");
	lsc_tree_remove(root, NULL);
}

int main(void)
{
	snprintf(root, sizeof(root), "%s/trees", scratch());
	test_paths();
	test_check();
	test_place();
	test_planted();
	test_remove();
	return done_testing();
}
