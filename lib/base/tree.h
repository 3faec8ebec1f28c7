/* A file or a directory tree as a table, and as one range of bytes.
 *
 * The files lie one behind the other: first the small ones, packed, then the large ones, each at a
 * multiple of LSC_TREE_ALIGN, so that each of these can be mapped at its place.  What is not told
 * is computed, by lsc_tree_place(), so that sender and receiver cannot disagree about it.
 *
 * Paths are relative to the root, whose own path is "".  A table may come from a peer: what
 * lsc_tree_add() and lsc_tree_check() accept has no absolute path, no "." or "..", nothing twice,
 * and beneath nothing but directories that it lists; so no path of it can lead through a link.
 */
#ifndef LSC_BASE_TREE_H
#define LSC_BASE_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define LSC_TREE_ALIGN       4096u
#define LSC_TREE_LARGE_BYTES (256ull << 10) /* and twice that, ... until MAX_LARGE are enough */
#define LSC_TREE_MAX_LARGE   30000u         /* a process may have 65530 mappings */
#define LSC_TREE_MAX_ENTRIES (1u << 22)
#define LSC_TREE_MAX_PATH    4095u
#define LSC_TREE_MAX_BYTES   (1ull << 50)

enum lsc_tree_kind {
	LSC_TREE_DIR,
	LSC_TREE_FILE,
	LSC_TREE_LINK,
};

struct lsc_tree_entry {
	char *path;
	char *target; /* a link's, kept as it is */
	enum lsc_tree_kind kind;
	bool cut;      /* a small file with which a block begins */
	uint16_t mode; /* the permissions, 0777 at most; 0 for a link */
	uint64_t mtime_ns;
	uint64_t bytes;  /* of a file */
	uint64_t offset; /* of a file, in the range */
};

/* Directories, then small files, large files, links; each by the bytes of their paths. */
struct lsc_tree {
	struct lsc_tree_entry *entries;
	uint32_t n, room;
	uint64_t large;        /* files of so many bytes are large */
	uint32_t n_large;      /* placed: */
	uint64_t packed_bytes; /* of the small files' part */
	uint64_t bytes;        /* of the range: 1 at least */
};

#define LSC_TREE_INIT                                                                              \
	{                                                                                          \
		0                                                                                  \
	}

void lsc_tree_release(struct lsc_tree *tree);
int lsc_tree_copy(struct lsc_tree *tree, const struct lsc_tree *from, struct lsc_err *err);

/* Appends an entry of a path of len bytes: -EBADMSG where that is not a path from here on down. */
int lsc_tree_add(struct lsc_tree *tree, enum lsc_tree_kind kind, const char *path, size_t len,
		 struct lsc_tree_entry **ret_entry, struct lsc_err *err);

/* Whether all entries are in their order, apart, and beneath directories; then places them. */
int lsc_tree_check(const struct lsc_tree *tree, struct lsc_err *err);
int lsc_tree_place(struct lsc_tree *tree, struct lsc_err *err);

static inline bool lsc_tree_is_large(const struct lsc_tree *tree, const struct lsc_tree_entry *e)
{
	return e->kind == LSC_TREE_FILE && e->bytes >= tree->large;
}

/* --- on disk (tree_disk.c, tree_map.c) --- */

/* A file's time of modification as a tree has it. */
struct stat;
uint64_t lsc_tree_mtime(const struct stat *st);

/* What path is, in order and placed; the path itself may be a link to it.  What is no file,
 * directory or link is left out: *ret_skipped counts that, and skipped names the first. */
int lsc_tree_scan(struct lsc_tree *tree, const char *path, uint32_t *ret_skipped,
		  char skipped[LSC_TREE_MAX_PATH + 1], struct lsc_err *err);

/* The range of a tree at path, read-only: large files are mapped, small ones read into memory.
 * -EBUSY where a file has another size or time than the table says. */
int lsc_tree_map(const struct lsc_tree *tree, const char *path, uint8_t **ret_data,
		 struct lsc_err *err);
void lsc_tree_unmap(const struct lsc_tree *tree, uint8_t *data);

/* Whether all of the tree is at path, by kinds, sizes, times and targets: 1, 0. */
int lsc_tree_is_at(const struct lsc_tree *tree, const char *path);

/* --- being made (tree_make.c) --- */

/* Walks down a tree, never through a link. */
struct lsc_tree_walk {
	int top;    /* the root's parent, or the root */
	int parent; /* of the entry that was last looked for; -1 */
	char path[LSC_TREE_MAX_PATH + 1];
};

/* Opens the directory that holds an entry, which stays the walk's, and sets ret_leaf to the
 * entry's name in it. */
int lsc_tree_walk_begin(struct lsc_tree_walk *walk, const struct lsc_tree *tree, const char *root);
int lsc_tree_walk_to(struct lsc_tree_walk *walk, const struct lsc_tree_entry *entry,
		     const char *root, const char **ret_leaf);
void lsc_tree_walk_end(struct lsc_tree_walk *walk);

/* Reads a part of the range from the files at path, which walk walks: -EIO where one is shorter
 * than it was. */
int lsc_tree_read(const struct lsc_tree *tree, const char *path, struct lsc_tree_walk *walk,
		  uint64_t offset, uint8_t *data, size_t len);

/* Makes the directories at root, or takes those that are there. */
int lsc_tree_make_dirs(const struct lsc_tree *tree, const char *root, struct lsc_err *err);

/* Opens a large file for reading and writing at its full size, made where it is not there. */
int lsc_tree_make_file(const struct lsc_tree_entry *entry, struct lsc_tree_walk *walk,
		       const char *root, struct lsc_err *err);

/* When the large files are whole: the small ones, from the range, links, permissions, times. */
int lsc_tree_finish(const struct lsc_tree *tree, const char *root, const uint8_t *data,
		    struct lsc_err *err);

/* Removes a file or a directory with all that is in it; an absent one is fine. */
int lsc_tree_remove(const char *root, struct lsc_err *err);

#endif
