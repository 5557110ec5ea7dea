/* What a page may say to the server: small msgpack arrays, read without trust.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_WEB_SAID_H
#define TD_SERVER_WEB_SAID_H

#include <stddef.h>
#include <stdint.h>

/* Bytes of the longest message: there is nothing in any of them that needs more. */
#define SAID_MAX 1024

enum said_kind {
    SAID_WRONG,  /* not of the protocol */
    SAID_ACK,    /* number: of the message that was taken */
    SAID_FOLLOW, /* number: the low bits of a session's; 0: all */
    SAID_DEVICE, /* number: of the device to be watched from now on, counted from 0 */
    SAID_PAUSE   /* number: 1 or 0 */
};
struct said {
    enum said_kind kind;
    uint32_t number;
};

struct said said_read(const void *data, size_t bytes);

#endif
