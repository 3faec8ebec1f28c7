/* MPI_Bcast of a file's bytes, from the memory of rank 0 to that of all others.
 *
 *	mpirun ... bcast FILE [CHUNK]
 *
 * Rank 0 reads FILE first.  Prints the seconds until all ranks have the bytes, and until all have
 * also compared their hash, XXH3-128 as lsc uses it, with that of rank 0.  CHUNK is how many bytes
 * one call moves, by default all: MPI cuts them into segments itself.
 */
#define XXH_INLINE_ALL
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

static void die(const char *what)
{
	fprintf(stderr, "bcast: %s\n", what);
	MPI_Abort(MPI_COMM_WORLD, 1);
	exit(1);
}

static void *read_file(const char *path, long long *ret_size)
{
	FILE *file = fopen(path, "r");
	struct stat st;
	void *data;

	if (!file || fstat(fileno(file), &st) < 0)
		die("cannot open the file");
	data = malloc(st.st_size);
	if (!data || fread(data, 1, st.st_size, file) != (size_t)st.st_size)
		die("cannot read the file");
	fclose(file);
	*ret_size = st.st_size;
	return data;
}

static void broadcast(char *data, long long size, long long chunk)
{
	for (long long at = 0; at < size; at += chunk)
		MPI_Bcast(data + at, size - at < chunk ? size - at : chunk, MPI_BYTE, 0,
			  MPI_COMM_WORLD);
}

/* What the slowest rank needed since start. */
static double slowest(double start)
{
	double mine = MPI_Wtime() - start, all;

	MPI_Allreduce(&mine, &all, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
	return all;
}

int main(int argc, char **argv)
{
	XXH128_hash_t hash, want = {0};
	long long size = 0, chunk;
	double start, received, verified;
	char *data = NULL;
	int rank;

	MPI_Init(&argc, &argv);
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	if (argc < 2)
		die("no file named");
	if (rank == 0) {
		data = read_file(argv[1], &size);
		want = XXH3_128bits(data, size);
	}
	MPI_Bcast(&size, 1, MPI_LONG_LONG, 0, MPI_COMM_WORLD);
	MPI_Bcast(&want, sizeof(want), MPI_BYTE, 0, MPI_COMM_WORLD);
	chunk = argc > 2 ? atoll(argv[2]) : 1 << 30;
	if (!data)
		data = malloc(size);
	if (!data || chunk < 1)
		die("no memory, or no chunk");
	if (rank > 0)
		memset(data, 0, size); /* the pages are there before the clock runs */
	MPI_Barrier(MPI_COMM_WORLD);
	start = MPI_Wtime();
	broadcast(data, size, chunk);
	received = slowest(start);
	hash = XXH3_128bits(data, size);
	if (!XXH128_isEqual(hash, want))
		die("the bytes are others");
	verified = slowest(start);
	if (rank == 0)
		printf("%.3f %.3f\n", received, verified);
	MPI_Finalize();
	free(data);
	return 0;
}
