/* The exit statuses of every tool; each man page's EXIT STATUS section is this table. */
#ifndef LSC_CLI_EXIT_H
#define LSC_CLI_EXIT_H

enum lsc_exit {
	LSC_EXIT_OK = 0,
	LSC_EXIT_NO = 1,           /* ran well, and the answer is no */
	LSC_EXIT_USAGE = 64,       /* command line wrong */
	LSC_EXIT_DATA = 65,        /* input malformed, or its hash is wrong */
	LSC_EXIT_UNAVAILABLE = 69, /* feature not built in; no such device or peer */
	LSC_EXIT_SYSTEM = 71,      /* a syscall, memory, a device call */
	LSC_EXIT_IO = 74,          /* read or write failed, output closed */
	LSC_EXIT_TIMEOUT = 75,     /* timed out; trying again may work */
	LSC_EXIT_PROTOCOL = 76,    /* the peer broke the protocol or its version */
	LSC_EXIT_CANNOT_RUN = 126, /* a child was found and could not be run */
	LSC_EXIT_NOT_FOUND = 127,  /* a child was not found */
};

#endif
