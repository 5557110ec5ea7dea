/* libwebsockets, loaded when the web role starts: linked in, it and libcrypto would cost each supervisor and worker
 * 1.2 ms of their start and 0.5 MB, for what neither of them uses. lws.write(...) is lws_write(...).
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_WEB_LWS_H
#define TD_SERVER_WEB_LWS_H

#include <libwebsockets.h>

#define LWS_FUNCTIONS             \
    F(set_log_level)              \
    F(create_context)             \
    F(create_vhost)               \
    F(context_destroy)            \
    F(adopt_socket_vhost)         \
    F(write)                      \
    F(callback_on_writable)       \
    F(hdr_total_length)           \
    F(hdr_copy)                   \
    F(hdr_copy_fragment)          \
    F(http_transaction_completed) \
    F(close_reason)               \
    F(frame_is_binary)            \
    F(is_final_fragment)          \
    F(remaining_packet_payload)   \
    F(set_opaque_user_data)       \
    F(get_opaque_user_data)

struct lws_library {
#define F(name) __typeof__(lws_##name) *name;
    LWS_FUNCTIONS
#undef F
};
extern struct lws_library lws;

/* NULL, or what stands against it. */
const char *lws_load(void);

#endif
