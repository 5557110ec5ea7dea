/* msgpack from the daemon, looked at in place: a value and what is inside it.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_CLIENT_CLI_JSON_H
#define TD_CLIENT_CLI_JSON_H

#include <stdbool.h>
#include <stdio.h>

#include "protocol/wire.h"

/* Takes the head of a map and gives its number of entries; 0 and failed if there is none. */
uint32_t map_begin(struct td_reader *r);
/* A reader of the value under key; one that has failed if the map at r has no such key. r itself stays. */
struct td_reader map_find(struct td_reader r, const char *key);
/* The number, or the text into to, under key; 0 or "" if there is none. */
uint64_t map_number(struct td_reader map, const char *key);
const char *map_text(struct td_reader map, const char *key, char *to, size_t size);
/* Writes one value as JSON, whatever it is, indented by depth levels. False if it is not well-formed. */
bool json_write(FILE *out, struct td_reader *r, int depth);

#endif
