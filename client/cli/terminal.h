/* The terminal while top runs on it: keys as they are typed, a screen of its own, and all of it as it was before on
 * every way out. By hand: what is needed is a dozen escape sequences that every terminal of the last thirty years
 * obeys, and curses would be the tool's only dependency. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_CLIENT_CLI_TERMINAL_H
#define TD_CLIENT_CLI_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>

/* Standard input and output are a terminal. */
bool terminal_is_there(void);
/* Takes the terminal; signals that end the process give it back first. False: it does not let itself be taken. */
bool terminal_take(void);
void terminal_give_back(void);
/* Lines and columns of standard output; columns 0 if it is none. */
void terminal_size(int *lines, int *columns);
/* A key, 0 when ms have passed or the size has changed, -1 when nobody types any more. Ctrl-Z is done inside. */
int terminal_key(int ms);
/* Whether colours are welcome: a terminal, and no NO_COLOR. */
bool terminal_has_colour(void);

#endif
