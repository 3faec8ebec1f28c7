/* tree - the table: what is a path, in which order, at which offset */
#include "base/tree.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/macros.h"

void lsc_tree_release(struct lsc_tree *tree)
{
	if (!tree)
		return;
	for (uint32_t i = 0; i < tree->n; i++) {
		free(tree->entries[i].path);
		free(tree->entries[i].target);
	}
	free(tree->entries);
	*tree = (struct lsc_tree)LSC_TREE_INIT;
}

static int no_memory(struct lsc_err *err)
{
	return lsc_err_set(err, ENOMEM, "cannot hold a table of files: %m");
}

static int make_room(struct lsc_tree *tree, struct lsc_err *err)
{
	uint32_t room = tree->room ? tree->room * 2 : 64;
	struct lsc_tree_entry *more;

	if (tree->n < tree->room)
		return 0;
	if (tree->n >= LSC_TREE_MAX_ENTRIES)
		return lsc_err_set(err, EBADMSG, "more than %u files", LSC_TREE_MAX_ENTRIES);
	more = realloc(tree->entries, room * sizeof(*more));
	if (!more)
		return no_memory(err);
	tree->entries = more;
	tree->room = room;
	return 0;
}

/* Whether every part of a path is a name; the root's is the empty path. */
static bool is_path(const char *path, size_t len)
{
	if (len > LSC_TREE_MAX_PATH || memchr(path, 0, len))
		return false;
	for (size_t at = 0; len > 0;) {
		const char *slash = memchr(path + at, '/', len - at);
		size_t part = slash ? (size_t)(slash - path) - at : len - at;

		if (part == 0 || part > 255 || (part == 1 && path[at] == '.') ||
		    (part == 2 && path[at] == '.' && path[at + 1] == '.'))
			return false;
		if (!slash)
			return true;
		at += part + 1;
	}
	return true;
}

int lsc_tree_add(struct lsc_tree *tree, enum lsc_tree_kind kind, const char *path, size_t len,
		 struct lsc_tree_entry **ret_entry, struct lsc_err *err)
{
	struct lsc_tree_entry *entry;
	int r;

	if (!is_path(path, len))
		return lsc_err_set(err, EBADMSG, "'%.*s' is no path to a file within",
				   (int)LSC_MIN(len, 200), path);
	r = make_room(tree, err);
	if (r < 0)
		return r;
	entry = &tree->entries[tree->n];
	*entry = (struct lsc_tree_entry){.kind = kind, .path = strndup(path, len)};
	if (!entry->path)
		return no_memory(err);
	tree->n++;
	*ret_entry = entry;
	return 0;
}

int lsc_tree_copy(struct lsc_tree *tree, const struct lsc_tree *from, struct lsc_err *err)
{
	*tree = *from;
	tree->n = 0;
	tree->room = from->n;
	tree->entries = calloc(from->n + (size_t)1, sizeof(*tree->entries));
	if (!tree->entries)
		return no_memory(err);
	for (; tree->n < from->n; tree->n++) {
		const struct lsc_tree_entry *old = &from->entries[tree->n];
		struct lsc_tree_entry *entry = &tree->entries[tree->n];

		*entry = *old;
		entry->path = strdup(old->path);
		entry->target = old->target ? strdup(old->target) : NULL;
		if (entry->path && (entry->target || !old->target))
			continue;
		free(entry->path);
		free(entry->target);
		lsc_tree_release(tree);
		return no_memory(err);
	}
	return 0;
}

/* --- whether it is a tree --- */

static int by_path(const void *a, const void *b)
{
	const struct lsc_tree_entry *const *left = a, *const *right = b;

	return strcmp((*left)->path, (*right)->path);
}

static unsigned class_of(const struct lsc_tree *tree, const struct lsc_tree_entry *entry)
{
	return entry->kind == LSC_TREE_DIR    ? 0
	       : entry->kind == LSC_TREE_LINK ? 3
					      : 1 + lsc_tree_is_large(tree, entry);
}

static int check_order(const struct lsc_tree *tree, struct lsc_err *err)
{
	for (uint32_t i = 1; i < tree->n; i++) {
		const struct lsc_tree_entry *entry = &tree->entries[i], *before = entry - 1;
		unsigned class = class_of(tree, entry), last = class_of(tree, before);

		if (class < last || (class == last && strcmp(before->path, entry->path) >= 0))
			return lsc_err_set(err, EBADMSG, "'%.200s' is not in its place",
					   entry->path);
	}
	return 0;
}

/* The entries that are directories come first, in order. */
static bool has_dir(const struct lsc_tree *tree, const char *path, size_t len)
{
	uint32_t low = 0, high = tree->n;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		const struct lsc_tree_entry *entry = &tree->entries[middle];
		int order = 1;

		if (entry->kind == LSC_TREE_DIR) {
			order = strncmp(entry->path, path, len);
			if (order == 0)
				order = entry->path[len] != 0;
		}
		if (order == 0)
			return true;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

static int check_parent(const struct lsc_tree *tree, const struct lsc_tree_entry *entry,
			struct lsc_err *err)
{
	const char *slash = strrchr(entry->path, '/');

	if (!*entry->path) /* the root: all there is, or what all is in */
		return tree->n == 1 || entry->kind == LSC_TREE_DIR
			       ? 0
			       : lsc_err_set(err, EBADMSG, "a root that others lie in is a file");
	if (has_dir(tree, entry->path, slash ? (size_t)(slash - entry->path) : 0))
		return 0;
	return lsc_err_set(err, EBADMSG, "'%.200s' lies in no directory", entry->path);
}

int lsc_tree_check(const struct lsc_tree *tree, struct lsc_err *err)
{
	LSC_CLEANUP_FREE const struct lsc_tree_entry **sorted =
		calloc(tree->n + (size_t)1, sizeof(*sorted));
	int r;

	if (!sorted)
		return no_memory(err);
	if (tree->n == 0 || tree->entries[0].kind == LSC_TREE_LINK)
		return lsc_err_set(err, EBADMSG, "it has no root");
	r = check_order(tree, err);
	for (uint32_t i = 0; r == 0 && i < tree->n; i++) {
		sorted[i] = &tree->entries[i];
		r = check_parent(tree, sorted[i], err);
	}
	if (r < 0)
		return r;
	qsort(sorted, tree->n, sizeof(*sorted), by_path);
	for (uint32_t i = 1; i < tree->n; i++)
		if (!strcmp(sorted[i - 1]->path, sorted[i]->path))
			return lsc_err_set(err, EBADMSG, "'%.200s' is there twice",
					   sorted[i]->path);
	return 0;
}

/* --- where it lies --- */

int lsc_tree_place(struct lsc_tree *tree, struct lsc_err *err)
{
	uint64_t at = 0;
	uint32_t n_large = 0;

	tree->packed_bytes = 0;
	for (uint32_t i = 0; i < tree->n; i++) {
		struct lsc_tree_entry *entry = &tree->entries[i];
		bool large = lsc_tree_is_large(tree, entry);

		if (entry->kind != LSC_TREE_FILE)
			continue;
		if (entry->bytes > LSC_TREE_MAX_BYTES - at)
			return lsc_err_set(err, EFBIG, "the files have more than 2^50 bytes");
		if (large && n_large++ == 0)
			tree->packed_bytes = at = lsc_align_up(at, LSC_TREE_ALIGN);
		entry->offset = at;
		at += large ? lsc_align_up(entry->bytes, LSC_TREE_ALIGN) : entry->bytes;
	}
	if (n_large > LSC_TREE_MAX_LARGE)
		return lsc_err_set(err, EBADMSG, "%u files are large, at most %u are", n_large,
				   LSC_TREE_MAX_LARGE);
	if (n_large == 0)
		tree->packed_bytes = at = LSC_MAX(at, 1u); /* a range has a byte at least */
	tree->n_large = n_large;
	tree->bytes = at;
	return 0;
}
