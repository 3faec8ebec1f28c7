/* When a program writes its first byte to standard output, and what it has in memory of its own.
 *
 *	first COMMAND [ARGUMENT]...
 *
 * Prints milliseconds from just before the fork, and KiB of anonymous memory.  The program is
 * killed then.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static long anonymous_kb(pid_t pid)
{
	char path[64], line[256];
	long kb = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Anonymous: %ld", &kb) == 1)
			break;
	if (f)
		fclose(f);
	return kb;
}

int main(int argc, char **argv)
{
	double start = now(), took;
	int ends[2];
	char byte;
	pid_t pid;

	if (argc < 2 || pipe(ends) < 0)
		return 64;
	pid = fork();
	if (pid == 0) {
		dup2(ends[1], STDOUT_FILENO);
		close(ends[0]);
		close(ends[1]);
		execvp(argv[1], argv + 1);
		_exit(127);
	}
	close(ends[1]);
	if (read(ends[0], &byte, 1) != 1) {
		fprintf(stderr, "first: %s wrote nothing\n", argv[1]);
		waitpid(pid, NULL, 0);
		return 1;
	}
	took = now() - start;
	printf("%.2f %ld\n", took, anonymous_kb(pid));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return 0;
}
