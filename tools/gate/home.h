/* The page for people, home.html, as it lies in the program. */
#ifndef LSC_TOOLS_GATE_HOME_H
#define LSC_TOOLS_GATE_HOME_H

extern const char gate_home[];

#endif
