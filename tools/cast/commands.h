/* The subcommands of lsc-cast, each a main() of its own. */
#ifndef LSC_TOOLS_CAST_COMMANDS_H
#define LSC_TOOLS_CAST_COMMANDS_H

int lsc_cast_keygen_main(int argc, char **argv);
int lsc_cast_send_main(int argc, char **argv);
int lsc_cast_serve_main(int argc, char **argv);

#endif
