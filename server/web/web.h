/* The web: serves the dashboard's page and feeds it from the worker's black box. Nothing that it reads from a browser
 * or finds in the box is trusted, and nothing else of the daemon waits for it.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_WEB_WEB_H
#define TD_SERVER_WEB_WEB_H

#include "server/config.h"

/* Serves those who connect to the listening socket until the channel to the supervisor ends; returns the exit status.
 */
int web_main(const struct config *config, int channel, int listening);

#endif
