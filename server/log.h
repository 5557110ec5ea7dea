/* The log: one line an event on standard error, "2026-01-31T12:00:00.123Z info worker session=3 message".
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_LOG_H
#define TD_SERVER_LOG_H

#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* "info"; the name of the level in the configuration. */
const char *log_level_name(int level);
/* role ("supervisor", "worker") is kept and must stay; lines below level are dropped. */
void log_open(const char *role, int level);
/* session 0: the event belongs to none. A line is one write, so that roles do not tear each other's. */
void log_event(enum log_level level, uint64_t session, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
